"""An engine that is always there: its process is started anew when it ends unasked.

loading   the process reads the bundle and runs every bucket once
running   it takes batches
failed    it cannot be loaded, ends again and again, or its device has failed: for good
closed    it was told to end
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from time import monotonic

from service.engine_batch import EngineConfig, EngineReady, EngineRun, EngineStats, Presence
from service.engine_child import EngineChild
from service.engine_errors import EngineError, EngineFatalError, EngineLostError
from service.synthesizer import Scene

log = logging.getLogger(__name__)

MAX_RESTARTS = 5
RESTART_WINDOW_S = 60.0
"""An engine that has to be started anew more than MAX_RESTARTS times within this has failed."""
FIRST_PAUSE_S = 0.1
"""Before a restart; doubled for every other one within the window."""


class EngineState(StrEnum):
    """Where an engine stands."""

    LOADING = "loading"
    RUNNING = "running"
    FAILED = "failed"
    CLOSED = "closed"


class EngineProcess:
    """One engine and its successive processes. Belongs to one event loop."""

    def __init__(
        self, config: EngineConfig, on_change: Callable[[EngineProcess], None] = lambda _: None
    ) -> None:
        """``on_change`` is called after every change of the state."""
        self.config, self._on_change = config, on_change
        self.state = EngineState.LOADING
        self.failure: EngineError | None = None
        self.about: EngineReady | None = None
        """What the engine told when it was last warm."""
        self.load_seconds = 0.0
        """From starting a process to its last warm-up run, the last time."""
        self.restarts = 0
        self._child: EngineChild | None = None
        self._supervising: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Of the present process."""
        return self._child.pid if self._child else None

    @property
    def free_slots(self) -> int:
        """How many batches the engine can take now."""
        running = self._child is not None and self.state is EngineState.RUNNING
        return self._child.free_slots if self._child and running else 0

    async def start(self) -> None:
        """Start the first process and wait until it is warm.

        Raises EngineLoadError, EngineFatalError, or EngineLostError if it ends while it loads.
        """
        self._supervising = asyncio.create_task(self._supervise())
        await self.wait_for(EngineState.RUNNING, EngineState.FAILED, EngineState.CLOSED)
        if self.failure is not None:
            raise self.failure

    async def wait_for(self, *states: EngineState) -> None:
        """Wait until the engine is in one of the states."""
        while self.state not in states:
            self._changed.clear()
            await self._changed.wait()

    async def run(
        self, scenes: Sequence[Scene], presence: Presence, timeout_s: float | None = None
    ) -> EngineRun:
        """Run scenes of one size; needs a free slot, and must not be cancelled.

        An engine that takes longer than ``timeout_s`` hangs: its process is ended. Raises
        EngineLostError or EngineFatalError.
        """
        if self._child is None or self.state is not EngineState.RUNNING:
            raise EngineLostError(f"the engine is {self.state}")
        loop, child = asyncio.get_running_loop(), self._child
        watchdog = (
            None
            if timeout_s is None
            else loop.call_later(timeout_s, child.kill, "the engine hangs")
        )
        try:
            return await child.run(scenes, presence)
        finally:
            if watchdog is not None:
                watchdog.cancel()

    async def stats(self) -> EngineStats:
        """Ask the engine what it has run. Raises EngineLostError or EngineFatalError."""
        if self._child is None:
            raise EngineLostError(f"the engine is {self.state}")
        return await self._child.stats()

    async def close(self) -> None:
        """End the process, now; what it still runs is lost."""
        self._become(EngineState.CLOSED)
        if self._child is not None:
            await self._child.close()
        if self._supervising is not None:
            self._supervising.cancel()
            await asyncio.wait([self._supervising])

    # ---- Inside ----------------------------------------------------------------------------

    async def _supervise(self) -> None:
        ends: deque[float] = deque(maxlen=MAX_RESTARTS + 1)
        while not self._is_closed():
            error = await self._live()
            if self._is_closed():
                return
            ends.append(monotonic())
            if self._is_final(error, ends):
                log.error("the engine has failed: %s", error)
                self.failure = error
                self._become(EngineState.FAILED)
                return
            recent = sum(ends[-1] - end < RESTART_WINDOW_S for end in ends)
            pause = FIRST_PAUSE_S * 2 ** (recent - 1)
            log.error("%s; it is started anew in %.1f s", error, pause)
            self.restarts += 1
            self._become(EngineState.LOADING)
            await asyncio.sleep(pause)

    async def _live(self) -> EngineError:
        """Start a process and stay with it until it ends; returns why it did."""
        started = monotonic()
        self._child = await EngineChild.spawn(self.config)
        try:
            self.about = await self._child.ready()
        except EngineError as error:
            await self._child.ended()
            return error
        self.load_seconds = monotonic() - started
        about = (self.about.name, self._child.pid, self.load_seconds)
        log.info("engine %s in process %d, warm after %.1f s", *about)
        if self.state is EngineState.LOADING:
            self._become(EngineState.RUNNING)
        return await self._child.ended()

    def _is_closed(self) -> bool:
        return self.state is EngineState.CLOSED

    def _is_final(self, error: EngineError, ends: deque[float]) -> bool:
        never_ran = self.about is None
        too_often = len(ends) > MAX_RESTARTS and ends[-1] - ends[0] < RESTART_WINDOW_S
        return never_ran or too_often or isinstance(error, EngineFatalError)

    def _become(self, state: EngineState) -> None:
        self.state = state
        self._changed.set()
        self._on_change(self)
