from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service import engine_process
from service.engine_batch import Presence
from service.engine_errors import (
    EngineFatalError,
    EngineFaultError,
    EngineLoadError,
    EngineLostError,
)
from service.engine_process import EngineProcess, EngineState
from tests.service.fake_engines import (
    BACKEND,
    CRASH,
    FATAL,
    POISON,
    SLOW,
    config,
    photo,
    run,
    running,
    scene,
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the engine that the tests share."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def engine(runner: asyncio.Runner, tiny_bundle: Path) -> Iterator[EngineProcess]:
    """An engine that survives what is done to it; its memory holds 5 scenes."""
    engine = EngineProcess(config(tiny_bundle, f"{BACKEND},memory=5"))
    runner.run(engine.start())
    yield engine
    runner.run(engine.close())


def test_pixels_come_back_as_the_engine_made_them(
    runner: asyncio.Runner, engine: EngineProcess
) -> None:
    """Maps and pixels of any size cross the border between the processes unchanged."""
    for size in ((64, 64), (17, 33), (300, 200), (8, 8)):
        scenes = [scene(engine.config.bundle, label, size) for label in (1, 2, 3)]
        done = runner.run(run(engine, *scenes))
        assert done.count == 3
        for given, image in zip(scenes, done.images, strict=True):
            assert np.array_equal(image, photo(given))  # type: ignore[arg-type]


def test_both_slots_work_at_once(runner: asyncio.Runner, engine: EngineProcess) -> None:
    """A batch is copied while another runs, and neither touches the other."""

    async def both() -> None:
        scenes = [scene(engine.config.bundle, label, (256, 256)) for label in (1, 2)]
        runs = await asyncio.gather(*(run(engine, given) for given in scenes))
        for given, done in zip(scenes, runs, strict=True):
            assert np.array_equal(done.images[0], photo(given))  # type: ignore[arg-type]

    runner.run(both())


def test_poison_harms_nobody_else(runner: asyncio.Runner, engine: EngineProcess) -> None:
    """In a batch of 8 with one scene that the engine cannot do, 7 come out as if alone."""
    labels = [1, 2, 3, POISON, 4, 5, 6, 1]
    scenes = [scene(engine.config.bundle, label) for label in labels]
    done = runner.run(run(engine, *scenes))
    for given, label, image in zip(scenes, labels, done.images, strict=True):
        if label == POISON:
            assert isinstance(image, EngineFaultError)
            assert f"label {POISON}" in str(image)
        else:
            (alone,) = runner.run(run(engine, given)).images
            assert np.array_equal(image, alone)  # type: ignore[arg-type]


def test_batch_beyond_the_memory_is_halved(runner: asyncio.Runner, engine: EngineProcess) -> None:
    """All 8 scenes come out although only 5 fit, and the caller is told how many did."""
    before = runner.run(engine.stats())
    scenes = [scene(engine.config.bundle)] * 8
    done = runner.run(run(engine, *scenes))
    assert done.cap == 4
    assert all(np.array_equal(image, photo(scenes[0])) for image in done.images)  # type: ignore[arg-type]
    after = runner.run(engine.stats())
    assert after.runs - before.runs == 3  # 8 in vain, then 4 and 4


def test_warm_up_finds_the_memory(engine: EngineProcess) -> None:
    """Batches that do not fit are found before serving, and the rest is timed."""
    assert engine.about is not None
    assert engine.about.caps == [(64, 64, 4)]
    assert [row[:3] for row in engine.about.timed] == [(64, 64, 1), (64, 64, 4)]
    assert engine.load_seconds > 0


def test_who_has_left_is_passed_over(runner: asyncio.Runner, engine: EngineProcess) -> None:
    """Scenes that were given up in time are not run, also those that have been handed over."""
    before = runner.run(engine.stats())
    scenes = [scene(engine.config.bundle, label) for label in (1, 2, 3, 4)]
    presence = Presence(4)
    presence.leave(0)
    presence.leave(2)
    done = runner.run(engine.run(scenes, presence))
    assert [image is None for image in done.images] == [True, False, True, False]
    assert np.array_equal(done.images[3], photo(scenes[3]))  # type: ignore[arg-type]
    after = runner.run(engine.stats())
    assert after.images - before.images == 2


def test_killed_engine_fails_fast_and_comes_back(tiny_bundle: Path) -> None:
    """After kill -9 what runs fails at once, and a new process takes over without being asked."""
    states: list[EngineState] = []

    async def kill() -> None:
        async with running(config(tiny_bundle), lambda e: states.append(e.state)) as engine:
            first = engine.pid
            assert first is not None
            in_flight = asyncio.create_task(run(engine, scene(engine.config.bundle, SLOW)))
            await asyncio.sleep(0.05)
            os.kill(first, signal.SIGKILL)
            with pytest.raises(EngineLostError):
                await asyncio.wait_for(in_flight, 5)
            await engine.wait_for(EngineState.LOADING)
            assert engine.free_slots == 0
            await engine.wait_for(EngineState.RUNNING)
            done = await run(engine, scene(engine.config.bundle))
            assert done.count == 1
            assert engine.pid != first
            assert engine.restarts == 1

    asyncio.run(kill())
    assert states == [
        *(EngineState.RUNNING, EngineState.LOADING, EngineState.RUNNING, EngineState.CLOSED),
    ]


def test_batches_run_in_the_order_in_which_they_come(tiny_bundle: Path) -> None:
    """A small batch that is copied sooner does not overtake the large one before it."""

    async def crash_first() -> None:
        async with running(config(tiny_bundle)) as engine:
            large = scene(engine.config.bundle, CRASH, (2048, 2048))
            runs = run(engine, large), run(engine, scene(engine.config.bundle))
            results = await asyncio.gather(*runs, return_exceptions=True)
            assert [type(result) for result in results] == [EngineLostError] * 2

    asyncio.run(crash_first())


def test_hanging_engine_is_replaced(tiny_bundle: Path) -> None:
    """An engine that does not answer for too long is ended, and its work fails."""

    async def hang() -> None:
        async with running(config(tiny_bundle)) as engine:
            scenes = [scene(engine.config.bundle, SLOW)]
            with pytest.raises(EngineLostError, match="hangs"):
                await engine.run(scenes, Presence(1), timeout_s=0.1)

    asyncio.run(hang())


def test_failed_device_is_final(tiny_bundle: Path) -> None:
    """An error of the device ends the process with a status of its own, and the engine for good."""

    async def fail() -> None:
        async with running(config(tiny_bundle)) as engine:
            with pytest.raises(EngineFatalError, match="illegal memory access"):
                await run(engine, scene(engine.config.bundle, FATAL))
            await engine.wait_for(EngineState.FAILED)
            assert isinstance(engine.failure, EngineFatalError)
            with pytest.raises(EngineLostError):
                await run(engine, scene(engine.config.bundle))

    asyncio.run(fail())


def test_engine_that_ends_again_and_again_has_failed(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restarts are limited."""
    monkeypatch.setattr(engine_process, "MAX_RESTARTS", 1)

    async def crash_twice() -> None:
        async with running(config(tiny_bundle)) as engine:
            for then in (EngineState.LOADING, EngineState.FAILED):
                await engine.wait_for(EngineState.RUNNING)
                with pytest.raises(EngineLostError):
                    await run(engine, scene(engine.config.bundle, CRASH))
                await engine.wait_for(then)

    asyncio.run(crash_twice())


def test_engine_that_cannot_load_says_why(tiny_bundle: Path) -> None:
    """What stands in an engine's way is told with the engine's own words, and not tried again."""
    engine = EngineProcess(config(tiny_bundle, "fake:nonsense=1"))
    with pytest.raises(EngineLoadError, match="nonsense is none of base_ms, "):
        asyncio.run(engine.start())
    assert engine.state is EngineState.FAILED
    assert engine.restarts == 0


def test_engine_does_not_outlive_its_server(tiny_bundle: Path) -> None:
    """A kill -9 of the server leaves no engine process behind."""
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from tests.service.fake_engines import config, running\n"
        "async def main():\n"
        "    async with running(config(Path(sys.argv[1]))) as engine:\n"
        "        print(engine.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", program, str(tiny_bundle)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    with server.stdout:
        pid = int(server.stdout.readline())
    assert is_alive(pid)
    server.kill()
    server.wait()
    give_up = time.monotonic() + 30
    while is_alive(pid):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_engine_on_the_processor_goes_second(tiny_bundle: Path) -> None:
    """Where both want the same core the server goes first, so that refusals do not wait."""

    async def look() -> None:
        async with running(config(tiny_bundle)) as engine:
            assert engine.pid is not None
            ours = os.getpriority(os.PRIO_PROCESS, os.getpid())
            assert os.getpriority(os.PRIO_PROCESS, engine.pid) == min(19, ours + 5)

    asyncio.run(look())
