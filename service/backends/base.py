"""What the synthesis core asks of an engine, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EngineInput:
    """A batch of N scenes of one legal size; one-hot, edges and styles are made by the engine."""

    label: NDArray[np.uint8]
    """(N, H, W) class ids; 255 = no class."""
    instance: NDArray[np.int32]
    """(N, H, W) instance ids."""
    style_index: NDArray[np.int32] | None = None
    """(N, H, W) rows of ``style_table``; None for models without styles."""
    style_table: NDArray[np.float32] | None = None
    """(N, M, C) codes; rows beyond a scene's own objects are unused."""


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
