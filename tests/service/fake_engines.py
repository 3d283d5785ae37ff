"""Real engine processes around the engine of known speed, and scenes that it fails on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle, load_bundle
from service.backends.fake_engine import fake_photo
from service.engine_batch import EngineConfig, EngineRun, Presence
from service.engine_process import EngineProcess
from service.synthesizer import Scene, prepare_scene

POISON, FATAL, CRASH, SLOW = 7, 8, 9, 10
BACKEND = f"fake:poison={POISON},fatal={FATAL},crash={CRASH},slow={SLOW}"
"""Fails on a scene of one of these labels, each in its way; does all others at once."""


def config(folder: Path, backend: str = BACKEND, max_batch: int = 8) -> EngineConfig:
    """Describe an engine for scenes of 64x64 pixels, which it is warmed up for."""
    return EngineConfig(load_bundle(folder), backend, 1, ((64, 64),), max_batch)


@asynccontextmanager
async def running(
    given: EngineConfig, on_change: Callable[[EngineProcess], None] = lambda _: None
) -> AsyncIterator[EngineProcess]:
    """Keep an engine process for as long as the block lasts."""
    engine = EngineProcess(given, on_change)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()


def scene(bundle: Bundle, label: int = 1, size: tuple[int, int] = (64, 64)) -> Scene:
    """Make a scene of one label whose instances differ from pixel to pixel."""
    instance = np.arange(size[0] * size[1]).reshape(size) % 200
    return prepare_scene(bundle, np.full(size, label, np.uint8), instance)


def photo(of: Scene) -> NDArray[np.uint8]:
    """Return what the engine makes of a scene."""
    return fake_photo(of.maps.label, of.maps.instance, of.maps.index)


async def run(engine: EngineProcess, *scenes: Scene) -> EngineRun:
    """Run scenes that all are waited for."""
    return await engine.run(scenes, Presence(len(scenes)))
