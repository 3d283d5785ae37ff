"""Short work on the event loop: one piece at a time, with room for others between."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from service.loop_turns import LoopTurns


def test_others_come_in_between() -> None:
    """Of a burst of work the loop does one piece in a turn, in the order in which it came."""

    async def main() -> None:
        turns, done = LoopTurns(), list[int]()
        burst = asyncio.gather(*(turns.run(done.append, number) for number in range(50)))
        seen = [0]
        while not burst.done():
            await asyncio.sleep(0)  # a probe, which has its say in each turn of the loop
            seen.append(len(done))
        assert done == [*range(50)]
        assert max(after - before for before, after in itertools.pairwise(seen)) == 1

    asyncio.run(main())


def test_results_errors_and_callers_who_leave() -> None:
    """Work returns or raises where it is awaited; who leaves before costs nothing."""

    async def main() -> None:
        turns, done = LoopTurns(), list[int]()
        assert await turns.run(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await turns.run(divmod, 1, 0)
        first, second = (asyncio.create_task(turns.run(done.append, n)) for n in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert first.cancelled()
        assert done == [1]

    asyncio.run(main())
