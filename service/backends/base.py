"""What the synthesis core asks of an engine, and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EngineInput:
    """A batch of N scenes of one size, any from one pixel on.

    Padding, one-hot labels, edges and styles are made by the engine.
    """

    label: NDArray[np.uint8]
    """(N, H, W) class ids, 255 = no class; (N, H, W, C) source images for models without labels."""
    instance: NDArray[np.int32] | None = None
    """(N, H, W) instance ids; models without edges do not look at them."""
    style_index: NDArray[np.int32] | None = None
    """(N, H, W) rows of ``style_table``; None for models without styles."""
    style_table: NDArray[np.float32] | None = None
    """(N, M, C) codes; rows beyond a scene's own objects are unused."""
    scene_key: NDArray[np.int64] | None = None
    """(N,) whose normalisation statistics each scene shares; 0 = it has its own. Only
    ``onnx-frozen`` looks at it."""

    def maps(self) -> dict[str, NDArray[Any]]:
        """The arrays that are there, by name, as torch's networks take them."""
        return {
            name: array
            for name, array in vars(self).items()
            if array is not None and name != "scene_key"
        }

    def feeds(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The arrays that a graph with inputs of these names takes."""
        return {name: getattr(self, name) for name in names}


class Engine(Protocol):
    """A loaded model on one device."""

    name: str
    """Backend, provider and precision, for people: ``onnx CPU float32``."""

    def run(self, batch: EngineInput) -> NDArray[np.uint8]:
        """Synthesise photographs: (N, H, W, 3) uint8 RGB."""
        ...

    def close(self) -> None:
        """Free the device; the engine cannot be used afterwards."""
        ...
