from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from service.batching import Limits
from service.engine_batch import EngineStats
from service.engine_errors import EngineFaultError
from service.engine_process import EngineProcess, EngineState
from service.errors import ServiceError
from service.jobs import Lane
from service.scheduler import Result, Scheduler, SupersededError
from tests.service.fake_engines import BACKEND, POISON, SLOW, config, photo, running, scene

T = TypeVar("T")
SMALL, LARGE = (64, 64), (64, 128)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the engine that the tests share."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def engine(runner: asyncio.Runner, tiny_bundle: Path) -> Iterator[EngineProcess]:
    """An engine that takes 20 ms for a run and 2 ms for an image; its memory holds 20."""
    engine = EngineProcess(config(tiny_bundle, f"{BACKEND},base_ms=20,image_ms=2,memory=20"))
    runner.run(engine.start())
    yield engine
    runner.run(engine.close())


def scheduler_of(engine: EngineProcess, **limits: Any) -> Scheduler:
    """Put a fresh queue before the engine."""
    scheduler = Scheduler("tiny", [engine], Limits(**limits))
    scheduler.engine_changed(engine)
    return scheduler


class Callers:
    """Tasks that wait for photographs."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.tasks: list[asyncio.Task[Result]] = []

    def ask(
        self, count: int = 1, label: int = 1, size: tuple[int, int] = SMALL, **how: Any
    ) -> None:
        """Let some more ask for a scene of one label."""
        bundle = self.scheduler.engines.engines[0].config.bundle
        for _ in range(count):
            given = scene(bundle, label, size)
            self.tasks.append(asyncio.create_task(self.scheduler.submit(given, **how)))

    async def wait(self) -> list[Result | BaseException]:
        """Wait until all have been answered."""
        return await asyncio.gather(*self.tasks, return_exceptions=True)


async def runs_of(engine: EngineProcess, work: Coroutine[Any, Any, T]) -> tuple[T, EngineStats]:
    """Do something; returns its result and what the engine has run for it."""
    before = await engine.stats()
    result = await work
    after = await engine.stats()
    batches = {n: k - before.batches.get(n, 0) for n, k in after.batches.items()}
    runs, images = after.runs - before.runs, after.images - before.images
    return result, EngineStats(runs, images, {n: k for n, k in batches.items() if k})


def test_those_who_come_together_run_together(
    runner: asyncio.Runner, engine: EngineProcess
) -> None:
    """Eight callers of one turn of the loop make one batch, and each gets his own photograph."""

    async def together() -> list[Result | BaseException]:
        callers = Callers(scheduler_of(engine))
        for label in (1, 2, 3, 4, 5, 6, 1, 2):
            callers.ask(label=label)
        return await callers.wait()

    results, ran = runner.run(runs_of(engine, together()))
    assert ran.batches == {8: 1}
    for label, result in zip((1, 2, 3, 4, 5, 6, 1, 2), results, strict=True):
        assert isinstance(result, Result)
        assert np.array_equal(result.pixels, photo(scene(engine.config.bundle, label)))
        assert result.infer_s >= 0.036
        assert result.queue_s >= 0


def test_poison_fails_alone(runner: asyncio.Runner, engine: EngineProcess) -> None:
    """One caller's scene that the engine cannot do is his own misfortune."""

    async def with_poison() -> list[Result | BaseException]:
        callers = Callers(scheduler_of(engine))
        callers.ask(3)
        callers.ask(label=POISON)
        callers.ask(4)
        return await callers.wait()

    results = runner.run(with_poison())
    assert [isinstance(result, Result) for result in results] == [True] * 3 + [False] + [True] * 4
    assert isinstance(results[3], EngineFaultError)


def test_batches_grow_until_the_engine_takes_them(
    runner: asyncio.Runner, engine: EngineProcess
) -> None:
    """Those who come one by one while the engine is busy run together when it is free."""

    async def one_by_one() -> list[Result | BaseException]:
        callers = Callers(scheduler_of(engine))
        for _ in range(8):
            callers.ask()
            await asyncio.sleep(0)  # for them to come
            await asyncio.sleep(0)  # for the scheduler to hand them over
        return await callers.wait()

    _, ran = runner.run(runs_of(engine, one_by_one()))
    assert ran.batches == {1: 1, 7: 1}


def test_cancelled_scenes_never_reach_the_engine(
    runner: asyncio.Runner, engine: EngineProcess
) -> None:
    """Whoever leaves while he waits costs the engine nothing."""

    async def leave() -> None:
        callers = Callers(scheduler_of(engine))
        callers.scheduler.pause()
        callers.ask(20)
        await asyncio.sleep(0)
        for task in callers.tasks[::2]:
            task.cancel()
        await asyncio.sleep(0)
        assert callers.scheduler.queue.waiting == 10
        callers.scheduler.resume()
        await callers.wait()

    _, ran = runner.run(runs_of(engine, leave()))
    assert ran.images == 10


def test_leaving_while_batches_are_formed(runner: asyncio.Runner, engine: EngineProcess) -> None:
    """Not even one who leaves in the same turn of the loop reaches the engine."""

    async def leave() -> None:
        callers = Callers(scheduler_of(engine))
        callers.scheduler.pause()
        callers.ask(4)
        await asyncio.sleep(0)
        callers.scheduler.resume()
        callers.tasks[0].cancel()
        await callers.wait()

    _, ran = runner.run(runs_of(engine, leave()))
    assert ran.batches == {3: 1}


def test_cancelled_scenes_of_a_batch_that_lies_ready(
    runner: asyncio.Runner, engine: EngineProcess
) -> None:
    """A batch that has been copied to the engine behind another loses those who leave."""

    async def leave() -> None:
        callers = Callers(scheduler_of(engine))
        callers.ask(16)
        await asyncio.sleep(0)  # for them to come
        await asyncio.sleep(0)  # for the scheduler to hand both batches over
        assert callers.scheduler.queue.waiting == 0
        for task in callers.tasks[8:14]:
            task.cancel()
        await callers.wait()

    _, ran = runner.run(runs_of(engine, leave()))
    assert ran.batches == {8: 1, 2: 1}


def test_two_sizes_batch_as_well_as_one(runner: asyncio.Runner, engine: EngineProcess) -> None:
    """At saturation A, B, A, B, ... runs in batches that are at most 10 % smaller."""

    async def saturate(*sizes: tuple[int, int]) -> None:
        scheduler = scheduler_of(engine)

        async def keep_asking(caller: int) -> None:
            given = scene(engine.config.bundle, size=sizes[caller % len(sizes)])
            for _ in range(6):
                await scheduler.submit(given)

        await asyncio.gather(*(keep_asking(caller) for caller in range(32)))

    _, alone = runner.run(runs_of(engine, saturate(SMALL)))
    _, mixed = runner.run(runs_of(engine, saturate(SMALL, LARGE)))
    assert alone.images == mixed.images == 32 * 6
    assert alone.images / alone.runs > 7
    assert mixed.images / mixed.runs >= 0.9 * alone.images / alone.runs


def test_deadline_passes_while_the_engine_is_busy(
    runner: asyncio.Runner, engine: EngineProcess
) -> None:
    """A waiting caller is answered at his deadline, not when the engine looks up."""

    async def be_late() -> None:
        # Has seen no run, so that it predicts nothing and lets everyone in.
        callers = Callers(Scheduler("tiny", [engine], Limits(max_batch=1)))
        callers.ask(40)
        await asyncio.sleep(0)
        with pytest.raises(ServiceError) as caught:
            await callers.scheduler.submit(
                scene(engine.config.bundle, size=LARGE), deadline=time.monotonic() + 0.005
            )
        assert caught.value.reason == "DEADLINE_EXCEEDED"
        assert not callers.tasks[-1].done()
        for task in callers.tasks:
            task.cancel()
        await callers.wait()

    runner.run(be_late())


def test_expired_scenes_are_answered_without_a_run(
    runner: asyncio.Runner, engine: EngineProcess
) -> None:
    """A deadline that passes in the queue is a 504, and the scene is not run."""

    async def expire() -> list[Result | BaseException]:
        callers = Callers(scheduler_of(engine))
        callers.scheduler.pause()
        callers.ask(2)
        callers.ask(3, deadline=time.monotonic() + 0.5)
        await asyncio.wait(callers.tasks[2:])
        assert callers.scheduler.queue.waiting == 2
        callers.scheduler.resume()
        return await callers.wait()

    results, ran = runner.run(runs_of(engine, expire()))
    assert ran.images == 2
    for late in results[2:]:
        assert isinstance(late, ServiceError)
        assert late.reason == "DEADLINE_EXCEEDED"


def test_overload_is_shed(runner: asyncio.Runner, engine: EngineProcess) -> None:
    """Beyond the longest wait callers are told at once when to come back; the others are served."""

    async def overload() -> list[Result | BaseException]:
        callers = Callers(scheduler_of(engine, max_wait_s=0.2))
        callers.ask(200)
        return await callers.wait()

    results, ran = runner.run(runs_of(engine, overload()))
    served = [result for result in results if isinstance(result, Result)]
    refused = [result for result in results if isinstance(result, ServiceError)]
    assert len(served) + len(refused) == 200
    assert 8 <= len(served) == ran.images < 100
    assert {error.reason for error in refused} == {"QUEUE_FULL"}
    assert all(error.retry_after_s and error.retry_after_s >= 0.1 for error in refused)
    assert len({error.retry_after_s for error in refused}) > 10


def test_newer_frame_takes_the_place_of_the_older(
    runner: asyncio.Runner, engine: EngineProcess
) -> None:
    """Of the scenes of one key that wait, only the last is run, in the place of the first."""

    async def supersede() -> list[Result | BaseException]:
        callers = Callers(scheduler_of(engine, max_batch=1))
        callers.scheduler.pause()
        callers.ask(label=1, lane=Lane.STREAM, key="session")
        callers.ask(label=2, lane=Lane.STREAM, key="other")
        callers.ask(2, label=3, lane=Lane.STREAM, key="session")
        await asyncio.sleep(0)
        assert callers.scheduler.queue.waiting == 2
        callers.scheduler.resume()
        await asyncio.wait(callers.tasks, return_when=asyncio.FIRST_COMPLETED)
        return await callers.wait()

    (first, other, second, third), ran = runner.run(runs_of(engine, supersede()))
    assert ran.images == 2
    assert isinstance(first, SupersededError)
    assert isinstance(second, SupersededError)
    assert isinstance(third, Result)
    assert isinstance(other, Result)
    assert (third.pixels[..., 0] == 3).all()
    assert third.queue_s < other.queue_s


def test_memory_is_remembered(runner: asyncio.Runner, engine: EngineProcess) -> None:
    """After one batch that was too large for its memory, the engine gets smaller ones."""

    async def too_many() -> None:
        callers = Callers(scheduler_of(engine, max_batch=32))
        callers.scheduler.pause()
        callers.ask(64, size=LARGE)
        await asyncio.sleep(0)
        callers.scheduler.resume()
        results = await callers.wait()
        assert all(isinstance(result, Result) for result in results)
        callers.tasks.clear()
        callers.ask(32, size=LARGE)
        await callers.wait()

    _, ran = runner.run(runs_of(engine, too_many()))
    assert ran.batches == {32: 2, 16: 6}


def test_lost_engine_fails_fast_and_comes_back(tiny_bundle: Path) -> None:
    """After kill -9 all who wait get a 503 that may be tried again, and the next are served."""

    async def kill() -> None:
        scheduler: list[Scheduler] = []

        def changed(engine: EngineProcess) -> None:
            for waiting in scheduler:
                waiting.engine_changed(engine)

        async with running(config(tiny_bundle), changed) as engine:
            scheduler.append(scheduler_of(engine))
            callers = Callers(scheduler[0])
            callers.ask(8, label=SLOW)
            await asyncio.sleep(0.05)
            callers.ask(4)
            assert engine.pid
            os.kill(engine.pid, signal.SIGKILL)
            results = await asyncio.wait_for(callers.wait(), 5)
            assert {getattr(result, "reason", None) for result in results} == {"ENGINE_LOST"}
            await engine.wait_for(EngineState.LOADING)
            assert not scheduler[0].ready
            with pytest.raises(ServiceError, match="started anew"):
                scheduler[0].require_room()
            await engine.wait_for(EngineState.RUNNING)
            assert (await scheduler[0].submit(scene(engine.config.bundle))).pixels.any()

    asyncio.run(kill())


def test_two_engines_share_the_queue(tiny_bundle: Path) -> None:
    """A batch goes to an idle engine before it lies ready at a busy one."""

    async def share() -> None:
        given = config(tiny_bundle, f"{BACKEND},base_ms=100")
        async with running(given) as first, running(given) as second:
            scheduler = Scheduler("tiny", [first, second])
            callers = Callers(scheduler)
            callers.ask(16)
            await callers.wait()
            for each in (first, second):
                assert (await each.stats()).batches == {8: 1}

    asyncio.run(share())


def test_maximum_delay_fills_batches(runner: asyncio.Runner, engine: EngineProcess) -> None:
    """With a delay an idle engine waits for those who come a little later, but no longer."""

    async def one_by_one() -> list[Result | BaseException]:
        callers = Callers(scheduler_of(engine, max_delay_s=0.2))
        for _ in range(5):
            callers.ask()
            await asyncio.sleep(0.001)
        return await callers.wait()

    results, ran = runner.run(runs_of(engine, one_by_one()))
    assert ran.batches == {5: 1}
    assert all(isinstance(result, Result) and result.queue_s > 0.15 for result in results[:1])


def test_drain_waits_for_what_was_taken(runner: asyncio.Runner, engine: EngineProcess) -> None:
    """No more scenes are taken, and all that were come out."""

    async def drain() -> None:
        callers = Callers(scheduler_of(engine))
        callers.ask(20)
        await asyncio.sleep(0)
        await callers.scheduler.drain()
        assert all(isinstance(result, Result) for result in await callers.wait())
        with pytest.raises(ServiceError) as caught:
            callers.scheduler.require_room()
        assert caught.value.reason == "DRAINING"

    runner.run(drain())
