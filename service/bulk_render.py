"""Maps as bytes in, photographs as bytes out: reading, the engine and encoding overlap."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.image_io import (
    FormatName,
    decode_instance_map,
    decode_label_map,
    decode_source,
    encode_photo,
)
from model.map_io import FILE_MAX_PIXELS
from model.spec import InputSpec
from model.styles import StyleChoice
from service.engine_errors import is_fatal
from service.synthesizer import Scene, Synthesizer

WINDOW = 4
"""Batches in which scenes of one size are looked for; as many again are read ahead."""
_THREADS = 4


@dataclass(frozen=True)
class Item:
    """One photograph to make."""

    name: str
    read: Callable[[], tuple[bytes, bytes | None]]
    """Returns the label map (or source image) and the instance map; called in a thread.

    May raise OSError or ValueError, which becomes the item's error.
    """


@dataclass(frozen=True)
class Outcome:
    """What became of an item."""

    name: str
    photo: bytes = b""
    """Encoded photograph; empty if it was delivered, or there is none."""
    error: str = ""
    """Why there is no photograph; empty = there is one."""
    pixels: int = 0
    engine_s: float = 0.0
    """Its share of the engine's time in seconds."""


@dataclass(frozen=True)
class _Made:
    """A photograph that the engine has made, or the reason that it has not."""

    pixels: NDArray[np.uint8] | None
    error: str
    engine_s: float


class Renderer:
    """Renders with one engine; scenes of one size share its runs, up to ``batch`` of them."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        choice: StyleChoice,
        format: FormatName = "png",  # noqa: A002 - the word that Pillow and the command line use
        quality: int | None = None,
        batch: int = 8,
    ) -> None:
        self._synthesizer, self._choice = synthesizer, choice
        self._format: FormatName = format
        self._quality, self._batch = quality, batch
        self._engine = threading.Lock()
        """Callers may render at once; the engine is one, and its time is counted once."""

    def render(
        self, items: Iterable[Item], deliver: Callable[[str, bytes], None] | None = None
    ) -> Iterator[Outcome]:
        """Yield what becomes of every item, in their order.

        ``deliver`` takes name and photograph, in a thread; without it photographs are part of the
        outcomes. A map that cannot be used, and a photograph that cannot be delivered (OSError),
        are outcomes too. Raises RuntimeError when the device has failed for good.
        """
        waiting = iter(items)
        read_ahead: deque[list[tuple[Item, Future[Scene]]]] = deque()
        encoding: deque[list[Future[Outcome]]] = deque()
        with ThreadPoolExecutor(_THREADS) as readers, ThreadPoolExecutor(_THREADS) as encoders:
            while window := list(itertools.islice(waiting, WINDOW * self._batch)):
                read_ahead.append([(i, readers.submit(self._prepare, i)) for i in window])
                if len(read_ahead) > 1:
                    encoding.append(self._run_window(read_ahead.popleft(), encoders, deliver))
                if len(encoding) > 1:
                    yield from (future.result() for future in encoding.popleft())
            for last in read_ahead:
                encoding.append(self._run_window(last, encoders, deliver))
            for futures in encoding:
                yield from (future.result() for future in futures)

    def _prepare(self, item: Item) -> Scene:
        label, instance = item.read()
        spec = self._synthesizer.bundle.input
        ids = None
        if instance is not None:
            ids = decode_instance_map(
                instance, max_pixels=FILE_MAX_PIXELS, name=f"{item.name} (instance)"
            )
        pixels = _decode(label, spec, item.name)
        return self._synthesizer.prepare(pixels, ids, self._choice, name=item.name)

    def _run_window(
        self,
        window: list[tuple[Item, Future[Scene]]],
        encoders: ThreadPoolExecutor,
        deliver: Callable[[str, bytes], None] | None,
    ) -> list[Future[Outcome]]:
        """Run the engine on a window, size by size; returns its outcomes to be, in order."""
        sizes: dict[tuple[int, int], list[tuple[int, Scene]]] = {}
        made: dict[int, _Made] = {}
        for place, (_, future) in enumerate(window):
            try:
                scene = future.result()
            except (OSError, ValueError) as error:
                made[place] = _Made(None, _words(error), 0.0)
            else:
                sizes.setdefault(scene.size, []).append((place, scene))
        for group in sizes.values():
            for start in range(0, len(group), self._batch):
                self._run_batch(group[start : start + self._batch], made)
        return [
            encoders.submit(self._finish, item.name, made[place], deliver)
            for place, (item, _) in enumerate(window)
        ]

    def _run_batch(self, batch: list[tuple[int, Scene]], made: dict[int, _Made]) -> None:
        """Run a batch; one that fails is halved, until the scene at fault stands alone."""
        started = 0.0
        try:
            with self._engine:
                started = time.perf_counter()
                photos = self._synthesizer.run([scene for _, scene in batch])
                seconds = time.perf_counter() - started
        except Exception as error:
            if is_fatal(error):
                raise
            if len(batch) == 1:
                made[batch[0][0]] = _Made(None, _words(error), time.perf_counter() - started)
                return
            middle = len(batch) // 2
            self._run_batch(batch[:middle], made)
            self._run_batch(batch[middle:], made)
            return
        each = seconds / len(batch)
        for (place, _), photo in zip(batch, photos, strict=True):
            made[place] = _Made(photo, "", each)

    def _finish(
        self, name: str, made: _Made, deliver: Callable[[str, bytes], None] | None
    ) -> Outcome:
        if made.pixels is None:
            return Outcome(name, error=made.error, engine_s=made.engine_s)
        height, width, _ = made.pixels.shape
        try:
            photo = encode_photo(made.pixels, self._format, self._quality)
            if deliver is not None:
                deliver(name, photo)
                photo = b""
        except (OSError, ValueError) as error:
            return Outcome(name, error=_words(error), engine_s=made.engine_s)
        return Outcome(name, photo, "", height * width, made.engine_s)


def _decode(data: bytes, spec: InputSpec, name: str) -> NDArray[np.integer]:
    """Decode what the model starts from: a label map (H, W) or a source image (H, W, C)."""
    if spec.label_count:
        return decode_label_map(data, max_pixels=FILE_MAX_PIXELS, name=name)
    return decode_source(data, spec.image_channels, max_pixels=FILE_MAX_PIXELS, name=name)


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror.lower()}"
    return " ".join(str(error).split()) or type(error).__name__
