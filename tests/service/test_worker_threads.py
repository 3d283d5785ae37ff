"""Work off the event loop: results, errors, work that nobody wants any more, and the end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from service.worker_threads import WorkerThreads


def test_results_and_errors_come_back() -> None:
    """Work runs on other threads, and returns or raises where it is awaited."""

    async def main() -> None:
        threads = WorkerThreads(2, "work")
        names = await asyncio.gather(*(threads.run(_name, i) for i in range(20)))
        assert [number for number, _ in names] == [*range(20)]
        assert {name for _, name in names} <= {"work-0", "work-1"}
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)
        threads.close()

    asyncio.run(main())


def _name(number: int) -> tuple[int, str]:
    return number, threading.current_thread().name


def test_cancelled_work_is_not_begun() -> None:
    """Who leaves before a thread is free costs nothing; others are served."""

    async def main() -> None:
        threads, gate = WorkerThreads(1, "work"), threading.Event()
        begun: list[int] = []
        first = asyncio.create_task(threads.run(gate.wait))
        second = asyncio.create_task(threads.run(begun.append, 2))
        third = asyncio.create_task(threads.run(begun.append, 3))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, third)
        assert second.cancelled()
        assert begun == [3]
        threads.close()

    asyncio.run(main())


def test_closing_cancels_what_waits() -> None:
    """What no thread has taken is cancelled; what runs comes back; then the threads end."""

    async def main() -> None:
        threads, begun, gate = WorkerThreads(1, "work"), threading.Event(), threading.Event()

        def work() -> bool:
            begun.set()
            return gate.wait()

        first = asyncio.create_task(threads.run(work))
        await asyncio.to_thread(begun.wait)
        second = asyncio.create_task(threads.run(gate.wait))
        await asyncio.sleep(0)
        threads.close()
        gate.set()
        assert await first
        with pytest.raises(asyncio.CancelledError):
            await second
        for thread in threads._threads:
            await asyncio.to_thread(thread.join, 60)
            assert not thread.is_alive()

    asyncio.run(main())
