"""One engine process as the server sees it, from its start to its end.

Batches travel through shared memory in slots: while the engine runs what lies in one, the next
batch can be copied into another. See ``service.engine_worker`` for the other side.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from service.engine_batch import EngineConfig, EngineReady, EngineRun, EngineStats, Pixels, Presence
from service.engine_errors import (
    EngineError,
    EngineFatalError,
    EngineFaultError,
    EngineLoadError,
    EngineLostError,
)
from service.shared_planes import Array, Form, Place, SharedPlanes, lay_out
from service.synthesizer import Scene, batch_forms, fill_batch

T = TypeVar("T")
SLOTS = 2
"""Batches that an engine can have at once: one runs, one lies ready."""
SMALL_BATCH_PIXELS = 1 << 19
"""Batches up to here are copied in less than a millisecond: sooner than a thread begins to."""
CLOSING_S = 5.0
"""Seconds that an engine gets to free its device."""


@dataclass
class _Slots:
    """The shared memory of one process."""

    planes: list[SharedPlanes] = field(
        default_factory=lambda: [SharedPlanes.create() for _ in range(SLOTS)]
    )
    free: list[int] = field(default_factory=lambda: list(range(SLOTS)))


class EngineChild:
    """A running engine process. Belongs to one event loop."""

    def __init__(
        self,
        config: EngineConfig,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        slots: _Slots,
    ) -> None:
        """For ``spawn``."""
        self._config, self._process, self._slots = config, process, slots
        self._reader, self._writer = reader, writer
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[EngineReady] = loop.create_future()
        self._runs: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._stats: list[asyncio.Future[EngineStats]] = []
        self._numbers = itertools.count()
        # Its own threads: copying must not wait behind the decoding of other scenes.
        self._copying = ThreadPoolExecutor(SLOTS, "engine-copy")
        self._order = asyncio.Lock()
        self._end: EngineError | None = None
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def spawn(cls, config: EngineConfig) -> EngineChild:
        """Start a process, which begins to load at once."""
        ours, theirs = socket.socketpair()
        slots = _Slots()
        descriptors = [theirs.fileno(), *(planes.descriptor for planes in slots.planes)]
        # Not from the working directory (-P), which may have a package of one of our names.
        command = [sys.executable, "-P", "-m", "service.engine_worker", *map(str, descriptors)]
        with theirs:
            process = await asyncio.to_thread(
                subprocess.Popen, command, stdin=subprocess.DEVNULL, pass_fds=descriptors
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 20)
        child = cls(config, process, reader, writer, slots)
        child._send(
            op="load",
            bundle=str(config.bundle.folder),
            backend=config.backend,
            threads=config.threads,
            sizes=config.sizes,
            batches=config.batches,
        )
        return child

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def free_slots(self) -> int:
        """How many batches it can take now."""
        return len(self._slots.free)

    async def ready(self) -> EngineReady:
        """Wait until it is warm. Raises EngineLoadError, EngineFatalError or EngineLostError."""
        return await asyncio.shield(self._ready)

    async def run(self, scenes: Sequence[Scene], presence: Presence) -> EngineRun:
        """Run scenes of one size; needs a free slot, and must not be cancelled.

        Raises EngineLostError or EngineFatalError.
        """
        slot = self._slots.free.pop()
        try:
            # In order: the batch that was formed first runs first, whichever is copied sooner.
            async with self._order:
                arrays = await self._copy(scenes, self._copy_in, scenes, slot)
                presence.move_to(arrays["left"])  # type: ignore[arg-type]
                asked = self._ask_to_run(slot, self._places(scenes)[0])
            answer = await asked
            images = await self._copy(scenes, _copy_out, arrays, answer["faults"])
        finally:
            self._slots.free.append(slot)
        return EngineRun(images, answer["seconds"], answer["images"], answer["cap"])

    async def stats(self) -> EngineStats:
        """Ask what it has run. Raises EngineLostError or EngineFatalError."""
        self._raise_end()
        waiting: asyncio.Future[EngineStats] = asyncio.get_running_loop().create_future()
        self._stats.append(waiting)
        self._send(op="stats")
        return await waiting

    async def ended(self) -> EngineError:
        """Wait until the process has ended; returns why."""
        await asyncio.shield(self._listening)
        assert self._end is not None
        return self._end

    async def close(self) -> None:
        """Let the process end by itself if it runs nothing; otherwise end it."""
        self._writer.write_eof()
        try:
            idle = self._ready.done() and not self._runs
            async with asyncio.timeout(CLOSING_S if idle else 0):
                await self.ended()
        except TimeoutError:
            self.kill("the engine was told to end")
            await self.ended()

    def kill(self, why: str) -> None:
        """End the process at once without waiting for it; ``ended`` tells when it has."""
        self._end = self._end or EngineLostError(why)
        self._process.kill()

    # ---- Inside ----------------------------------------------------------------------------

    def _places(self, scenes: Sequence[Scene]) -> tuple[dict[str, Place], int]:
        inputs = batch_forms(self._config.bundle, scenes)
        _, shape = inputs["instance"]
        image: Form = ("u1", (*shape, 3))
        return lay_out({"left": ("u1", (len(scenes),)), **inputs, "image": image})

    async def _copy(self, scenes: Sequence[Scene], work: Callable[..., T], *arguments: object) -> T:
        self._raise_end()
        height, width = scenes[0].size
        if len(scenes) * height * width <= SMALL_BATCH_PIXELS:
            return work(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._copying, work, *arguments)

    def _copy_in(self, scenes: Sequence[Scene], slot: int) -> dict[str, Array]:
        places, size = self._places(scenes)
        self._slots.planes[slot].reserve(size)
        arrays = self._slots.planes[slot].arrays(places)
        fill_batch(scenes, arrays)
        return arrays

    def _ask_to_run(self, slot: int, places: dict[str, Place]) -> asyncio.Future[dict[str, Any]]:
        self._raise_end()
        number = next(self._numbers)
        self._runs[number] = asyncio.get_running_loop().create_future()
        self._send(op="run", run=number, slot=slot, planes=places)
        return self._runs[number]

    def _send(self, **command: Any) -> None:
        self._writer.write(json.dumps(command).encode() + b"\n")

    def _raise_end(self) -> None:
        if self._end is not None:
            raise self._end

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                self._hear(json.loads(line))
        except (ConnectionError, ValueError):
            pass  # it died in the middle of a message
        finally:
            await self._bury()

    def _hear(self, message: dict[str, Any]) -> None:
        match message.pop("event"):
            case "ready":
                timed, caps = ([tuple(row) for row in message[key]] for key in ("timed", "caps"))
                sizes = frozenset(map(tuple, message["sizes"])) or None
                self._ready.set_result(EngineReady(message["name"], timed, caps, sizes))
            case "failed":
                self._end = EngineLoadError(message["detail"])
            case "fatal":
                self._end = EngineFatalError(message["detail"])
            case "done":
                self._runs.pop(message["run"]).set_result(message)
            case "stats":
                batches = dict(message["batches"])
                answer = EngineStats(message["runs"], message["images"], batches)
                self._stats.pop(0).set_result(answer)

    async def _bury(self) -> None:
        """Clean up behind the process and tell everyone who waits for it."""
        end = self._end = self._end or EngineLostError("the engine process ended unexpectedly")
        waiting: list[asyncio.Future[Any]] = [self._ready, *self._runs.values(), *self._stats]
        for future in waiting:
            if not future.done():
                future.set_exception(end)
                future.exception()  # nobody has to wait for it
        self._writer.close()
        status = await asyncio.to_thread(self._reap)
        if isinstance(end, EngineLostError):
            self._end = EngineLostError(f"{end} (status {status})")
        for planes in self._slots.planes:
            planes.close()

    def _reap(self) -> int:
        try:
            status = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:  # it has closed its socket and goes on nevertheless
            self._process.kill()
            status = self._process.wait()
        self._copying.shutdown()  # closing memory that is being copied to would be worse
        return status


def _copy_out(
    arrays: dict[str, Array], faults: dict[str, str]
) -> list[Pixels | EngineFaultError | None]:
    images: list[Pixels | EngineFaultError | None] = []
    for row, gone in enumerate(arrays["left"].tolist()):
        if why := faults.get(str(row)):  # JSON knows no other keys
            images.append(EngineFaultError(why))
        else:
            images.append(None if gone else arrays["image"][row].copy())
    return images
