"""An engine of known speed that stands in for a GPU where there is none: for tests and load tests.

It is no model: it takes as long as it is told to and returns pixels that show the maps, so that
results can be checked. Its options stand in the name of the backend:

    fake:base_ms=5,image_ms=2,memory=4

"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from model.engine_key import batch_profiles
from service.backends.base import EngineInput

NAME = "fake"


@dataclass(frozen=True)
class FakeOptions:
    """How the engine behaves. A label of -1 is in no label map."""

    base_ms: float = 0.0
    """Milliseconds of every run."""
    image_ms: float = 0.0
    """Milliseconds of every image on top."""
    megapixel_ms: float = 0.0
    """Milliseconds of every million pixels on top."""
    memory: int = 0
    """Images that its memory holds; a larger batch fails. 0 = any number."""
    poison: int = -1
    """A batch with this label in one of its scenes fails."""
    fatal: int = -1
    """This label brings the device down."""
    crash: int = -1
    """This label brings the process down."""
    slow: int = -1
    """A run with this label takes a minute longer."""
    width: int = 0
    """The only width in pixels that it runs, as engines that are built for one size; 0 = any."""
    height: int = 0
    """Likewise."""


class FakeEngine:
    """Takes its time and returns (label, low byte of the instance, low byte of the style's row)."""

    def __init__(self, backend: str) -> None:
        """Read the options; raises ValueError naming the unknown one."""
        given = dict(pair.split("=") for pair in backend.partition(":")[2].split(",") if pair)
        known = [field.name for field in fields(FakeOptions)]
        if unknown := given.keys() - {*known}:
            raise ValueError(f"backend {backend!r}: {unknown.pop()} is none of {', '.join(known)}")
        milliseconds = {name: float(value) for name, value in given.items() if name[-3:] == "_ms"}
        others = {name: int(value) for name, value in given.items() if name[-3:] != "_ms"}
        self.options = FakeOptions(**milliseconds, **others)  # type: ignore[arg-type]
        self.name = "fake, no model"
        size = self.options.width, self.options.height
        self.profiles = batch_profiles([size], [1 << 20]) if all(size) else ()

    def run(self, batch: EngineInput) -> NDArray[np.uint8]:
        """Take the time of a batch; returns (N, H, W, 3) uint8. Fails as it was told to."""
        started = time.perf_counter()
        options, images = self.options, len(batch.label)
        if options.memory and images > options.memory:
            raise RuntimeError(f"CUDA out of memory: {images} images")
        self._fail_on(batch.label)
        assert batch.instance is not None, "fakes know classes and instances only"
        megapixels = batch.instance.size / 1e6
        milliseconds = options.base_ms + images * options.image_ms
        end = started + (milliseconds + megapixels * options.megapixel_ms) / 1000
        photos = fake_photo(batch.label, batch.instance, batch.style_index)
        time.sleep(max(0.0, end - time.perf_counter()))
        return photos

    def close(self) -> None:
        """There is nothing to free."""

    def _fail_on(self, label: NDArray[np.uint8]) -> None:
        if (label == self.options.slow).any():
            time.sleep(60)
        if (label == self.options.crash).any():
            os.kill(os.getpid(), signal.SIGKILL)
        if (label == self.options.fatal).any():
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if (label == self.options.poison).any():
            raise RuntimeError(f"kernel 0x7f3a cannot do label {self.options.poison}")


def fake_photo(
    label: NDArray[np.integer],
    instance: NDArray[np.integer],
    index: NDArray[np.integer] | None,
) -> NDArray[np.uint8]:
    """Return what the engine makes of maps (..., H, W): (..., H, W, 3) uint8."""
    photo = np.zeros((*instance.shape, 3), np.uint8)
    photo[..., 0] = label if label.ndim == instance.ndim else label[..., 0]
    photo[..., 1] = instance
    if index is not None:
        photo[..., 2] = index
    return photo
