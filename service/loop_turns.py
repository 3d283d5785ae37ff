"""Short work on the event loop itself, one piece in each of its turns."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class LoopTurns:
    """Lets pieces of work have the event loop one by one.

    However many there are, probes, refusals and results come in between: they wait for one piece,
    not for all. Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Return what ``work`` returns, or raise what it raises."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            loop.call_soon(self._give_turn)
        await turn
        return work(*arguments)

    def _give_turn(self) -> None:
        turn = self._waiting.popleft()
        if not turn.done():  # else its caller has left
            turn.set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._give_turn)
