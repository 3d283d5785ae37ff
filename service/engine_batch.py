"""What the server and an engine process tell each other."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from service.engine_errors import EngineFaultError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class EngineConfig:
    """What an engine process loads and warms up."""

    bundle: Bundle
    backend: str = "onnx"
    threads: int = 0
    sizes: tuple[tuple[int, int], ...] = ((256, 512),)
    """Heights and widths to warm up."""
    max_batch: int = 8

    @property
    def batches(self) -> list[int]:
        """Batches to warm up: powers of two, and the largest."""
        powers = itertools.takewhile(lambda n: n < self.max_batch, (1 << i for i in range(31)))
        return [*powers, self.max_batch]


@dataclass(frozen=True)
class EngineReady:
    """What an engine tells after its last warm-up run."""

    name: str
    timed: list[tuple[int, int, int, float]]
    """Height, width, batch and seconds of runs at full speed."""
    caps: list[tuple[int, int, int]]
    """Height, width and largest batch where its memory holds less than was asked for."""
    sizes: frozenset[tuple[int, int]] | None = None
    """Heights and widths that it was built for; None = any."""


@dataclass(frozen=True)
class EngineStats:
    """What the engine has run since it was loaded, warm-up apart."""

    runs: int
    images: int
    batches: dict[int, int]
    """Images of a run -> number of such runs."""


@dataclass(frozen=True)
class EngineRun:
    """What became of a batch."""

    images: list[Pixels | EngineFaultError | None]
    """Per scene (H, W, 3), or why it failed; None for one that was given up in time."""
    seconds: float
    """Of the engine, for ``count`` images."""
    count: int
    cap: int | None
    """How many images fitted into its memory, if not all did."""

    @property
    def is_clean(self) -> bool:
        """Whether the engine did its work in one go, so that the time tells something."""
        return self.cap is None and not any(isinstance(i, EngineFaultError) for i in self.images)


class Presence:
    """Who of a batch is still waited for; the engine passes over those who have left."""

    def __init__(self, count: int) -> None:
        self.left: NDArray[np.uint8] = np.zeros(count, np.uint8)

    def leave(self, row: int) -> None:
        """Give up one of the batch; without effect once the engine has begun with it."""
        self.left[row] = 1

    def move_to(self, shared: NDArray[np.uint8]) -> None:
        """Let the engine see it from now on."""
        shared[:] = self.left
        self.left = shared
