"""Brings scenes that wait to engines that can take them, and callers what they wait for.

A batch is formed at the moment that an engine can take it and not before, so that it holds all
that has come by then (the design of Hugging Face's text-embeddings-inference, with buckets, lanes
and deadlines added). An engine that is busy gets a second batch to lie ready only if that one is
full, since any other could still grow.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from time import monotonic

from service import metrics
from service.admission import Admission
from service.batching import Batch, BatchQueue, Entry, Limits
from service.deadlines import deadline_exceeded, until
from service.engine_batch import EngineRun, Pixels, Presence
from service.engine_errors import EngineError, EngineFaultError
from service.engine_pool import EnginePool
from service.engine_process import EngineProcess, EngineState
from service.errors import ServiceError
from service.jobs import Lane
from service.synthesizer import Scene

log = logging.getLogger(__name__)


class SupersededError(Exception):
    """A newer scene of the same key has taken the place of this one."""


@dataclass(frozen=True)
class Result:
    """The photograph of a scene."""

    pixels: Pixels
    """(H, W, 3) uint8 RGB."""
    queue_s: float
    """Seconds that it waited for the engine."""
    infer_s: float
    """Seconds of the run that it was part of."""


@dataclass(eq=False)
class _Waiting:
    """A caller who waits."""

    scene: Scene
    result: asyncio.Future[Result]
    on_start: Callable[[], None]
    """Called when an engine takes the scene."""
    run: tuple[Presence, int] | None = None
    """The batch that the engine has it in, and its row."""


class Scheduler:
    """The queue of one model and the engines that serve it. Belongs to one event loop."""

    def __init__(
        self, model: str, engines: Sequence[EngineProcess], limits: Limits | None = None
    ) -> None:
        self.model, self.engines = model, EnginePool(engines)
        self.queue: BatchQueue[_Waiting] = BatchQueue(limits)
        self._admission = Admission(self.queue)
        self._keys: dict[Hashable, Entry[_Waiting]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._paused = self._draining = self._is_woken = False
        self._timer: asyncio.TimerHandle | None = None
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def submit(
        self,
        scene: Scene,
        lane: Lane = Lane.INTERACTIVE,
        key: Hashable = None,
        deadline: float | None = None,
        on_start: Callable[[], None] = lambda: None,
    ) -> Result:
        """Wait for the photograph of a scene; cancel the task to give it up.

        A scene takes the place of one with the same ``key`` that still waits; None = no key.
        ``deadline`` is a ``time.monotonic()``. ``on_start`` is called when an engine takes the
        scene, so that no other can take its place any more. Raises ServiceError as
        ``require_room`` does, SIZE_NOT_SERVED, DEADLINE_EXCEEDED and ENGINE_LOST,
        EngineFaultError if the engine fails on the scene, and SupersededError.
        """
        self._require_size(scene.size)
        waiting = _Waiting(scene, asyncio.get_running_loop().create_future(), on_start)
        entry = Entry(
            bucket=scene.size,
            pixels=scene.size[0] * scene.size[1],
            lane=lane,
            since=monotonic(),
            payload=waiting,
            deadline=deadline,
            has_left=waiting.result.done,
        )
        self._enter(entry, key)
        try:
            async with until(deadline):
                return await waiting.result
        finally:
            self._leave(entry, key)

    def require_room(
        self, lane: Lane = Lane.INTERACTIVE, deadline: float | None = None, ahead: int = 0
    ) -> None:
        """Refuse what would wait too long; ``ahead`` scenes are about to be submitted.

        Raises ServiceError QUEUE_FULL or DEADLINE_UNREACHABLE with the time to come back,
        DRAINING, or ENGINE_LOST while there is no engine.
        """
        if self._draining:
            raise ServiceError("DRAINING", "the server is about to stop; ask another one")
        if not self.ready:
            raise self._lost("the engine is being started anew")
        now = monotonic()
        refusal = self._admission.refusal(
            lane, now, deadline, self.engines.busy_s(now), len(self.engines.at_work()), ahead
        )
        if refusal is None:
            return
        metrics.SHED.labels(refusal.reason).inc()
        raise ServiceError(
            refusal.reason,
            f"{self.queue.waiting} scenes are waiting, which would take {refusal.wait_s:.1f} s; "
            f"come back in {refusal.retry_after_s:.1f} s",
            retry_after_s=refusal.retry_after_s,
        )

    @property
    def ready(self) -> bool:
        """Whether an engine is at work."""
        return bool(self.engines.at_work())

    def predicted_wait(self, lane: Lane = Lane.INTERACTIVE) -> float:
        """Return the seconds that a scene submitted now would wait."""
        busy = self.engines.busy_s(monotonic())
        return self._admission.predicted_wait(lane, busy, len(self.engines.at_work()))

    def busy_ratio(self) -> float:
        """Return the part of the last half minute in which the engines worked, 0..1."""
        return self.engines.busy_ratio(monotonic())

    def oldest_age(self) -> float:
        """Return the seconds that the scene at the front has waited."""
        since = self.queue.oldest_since()
        return 0.0 if since is None else monotonic() - since

    def engine_changed(self, engine: EngineProcess) -> None:
        """Note that an engine's state has changed; the engines are made to call this."""
        if engine.state is EngineState.RUNNING:
            self._learn_from_warm_up(engine)
        elif not self.ready:
            # Other servers can take these scenes sooner than the engine is back.
            for entry in self.queue.clear():
                _fail(entry, self._lost("the engine ended unexpectedly"))
        self._wake()

    def pause(self) -> None:
        """Hand nothing to the engines until ``resume``, so that what comes meanwhile queues up."""
        self._paused = True

    def resume(self) -> None:
        """Go on handing batches to the engines."""
        self._paused = False
        self._wake()

    async def drain(self) -> None:
        """Take no more scenes, and wait until all that were taken are done."""
        self._draining = True
        await self._is_idle.wait()

    # ---- The queue -------------------------------------------------------------------------

    def _require_size(self, size: tuple[int, int]) -> None:
        """Refuse what engines that were built for some sizes alone would fail on."""
        sizes = self.engines.sizes()
        if sizes is not None and size not in sizes:
            known = ", ".join(map(_name, sorted(sizes)))
            raise ServiceError.at(
                ["label"],
                "SIZE_NOT_SERVED",
                f"label: has {_name(size)} pixels, but the engine was built for {known}; "
                "resize the maps, or build an engine for this size",
            )

    def _enter(self, entry: Entry[_Waiting], key: Hashable) -> None:
        older = self._keys.get(key)
        has_place = older is not None and older.ticket is not None and older.lane is entry.lane
        if older is not None and has_place and not self._draining:
            self.queue.replace(older, entry)
            _fail(older, SupersededError())
        else:
            self.require_room(entry.lane, entry.deadline)
            self.queue.put(entry)
        if key is not None:
            self._keys[key] = entry
        self._is_idle.clear()
        self._wake()

    def _leave(self, entry: Entry[_Waiting], key: Hashable) -> None:
        """Forget a caller, whether he has got his photograph or not."""
        if self._keys.get(key) is entry:
            del self._keys[key]
        waiting, phase = entry.payload, None
        if self.queue.remove(entry):
            phase = "queue"
        elif waiting.run is not None and waiting.result.cancelled():
            presence, row = waiting.run
            presence.leave(row)
            phase = "infer"
        if phase and (entry.deadline is None or monotonic() < entry.deadline):
            metrics.CANCELLED.labels(phase).inc()
        self._note_idleness()

    def _note_idleness(self) -> None:
        if not self.queue.waiting and not self.engines.has_work():
            self._is_idle.set()

    # ---- The engines -----------------------------------------------------------------------

    def _wake(self) -> None:
        """Hand out batches at the end of this turn of the loop, when all have come who will."""
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._is_woken = False
        if self._paused:
            return
        for engine, is_busy in self.engines.takers():
            batch = self._next_batch(full_only=is_busy)
            if batch is not None:
                self._start(engine, batch)
        self._set_timer()
        self._note_idleness()

    def _next_batch(self, full_only: bool) -> Batch[_Waiting] | None:
        batch, expired = self.queue.next_batch(monotonic(), full_only)
        for entry in expired:
            _fail(entry, deadline_exceeded())
        return batch

    def _set_timer(self) -> None:
        """Come back when a batch that an idle engine waits for may grow no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.queue.next_due()
        if due is not None and self.engines.can_start():
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, due - monotonic()), self._hand_out)

    def _start(self, engine: EngineProcess, batch: Batch[_Waiting]) -> None:
        presence = Presence(len(batch.entries))
        for row, entry in enumerate(batch.entries):
            entry.payload.run = presence, row
            entry.payload.on_start()
        predicted = self.queue.times.predict(batch.bucket, batch.pixels)
        patience = self.engines.begin(engine, predicted, monotonic())
        running = asyncio.create_task(self._run(engine, batch, presence, patience))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        metrics.BATCH_CLOSED.labels(self.model, batch.cause).inc()

    async def _run(
        self, engine: EngineProcess, batch: Batch[_Waiting], presence: Presence, patience: float
    ) -> None:
        scenes = [entry.payload.scene for entry in batch.entries]
        try:
            run = await engine.run(scenes, presence, patience)
        except EngineError as error:
            for entry in batch.entries:
                _fail(entry, self._lost(str(error)))
        else:
            self._learn(batch, run)
            _deliver(batch, run)
        finally:
            self.engines.end(engine)
            self._wake()

    def _learn(self, batch: Batch[_Waiting], run: EngineRun) -> None:
        if run.cap is not None:
            log.warning("%s: the engine's memory holds %d scenes", _name(batch.bucket), run.cap)
            self.queue.lower_cap(batch.bucket, run.cap)
        if not run.count:
            return
        metrics.BATCH_SIZE.labels(self.model).observe(run.count)
        if run.is_clean:
            pixels = run.count * batch.entries[0].pixels
            self.queue.times.observe(batch.bucket, pixels, run.seconds)

    def _learn_from_warm_up(self, engine: EngineProcess) -> None:
        assert engine.about is not None
        for height, width, images, seconds in engine.about.timed:
            self.queue.times.observe((height, width), images * height * width, seconds)
        for height, width, images in engine.about.caps:
            self.queue.lower_cap((height, width), images)

    def _lost(self, detail: str) -> ServiceError:
        return ServiceError("ENGINE_LOST", detail, retry_after_s=self.engines.back_in_s())


def _fail(entry: Entry[_Waiting], error: Exception) -> None:
    if not entry.payload.result.done():
        entry.payload.result.set_exception(error)


def _deliver(batch: Batch[_Waiting], run: EngineRun) -> None:
    now = monotonic()
    for entry, image in zip(batch.entries, run.images, strict=True):
        if isinstance(image, EngineFaultError):
            _fail(entry, image)
        elif image is not None and not entry.payload.result.done():
            queue_s = max(0.0, now - entry.since - run.seconds)
            entry.payload.result.set_result(Result(image, queue_s, run.seconds))


def _name(bucket: Hashable) -> str:
    assert isinstance(bucket, tuple)
    height, width = bucket
    return f"{width}x{height}"
