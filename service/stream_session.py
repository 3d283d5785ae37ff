"""One stream: what happens to its frames between their arrival and their result.

    mailbox ──> decode ──> queue ──> infer ──> encode ──> outbox
       no more than ``max_unacknowledged`` frames from here to the client's ack

In LATEST_ONLY a newer frame takes the place of one that waits, in the mailbox or in the engine's
queue. Every frame that comes in goes out again, as a result or in a drop notice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from time import monotonic

from hdsynth.v1 import synthesis_pb2 as pb

from service import metrics
from service.errors import ServiceError
from service.grpc_messages import photo_message, stage_seconds, style_choice
from service.jobs import Lane, Photo
from service.pipeline import timed
from service.scheduler import SupersededError
from service.served import ServedModel
from service.stream_arrival import (
    EXPIRED,
    INVALID,
    OUTCOMES,
    OVERLOADED,
    SUPERSEDED,
    Arrival,
    reason_of,
)
from service.stream_config import WINDOW, StreamSettings
from service.stream_outbox import Outbox
from service.stream_pacing import Pacer
from service.stream_scene import FrameDecoder, FrameScene
from service.stream_steady import Blend, StatisticsKey

log = logging.getLogger(__name__)

Request = pb.SynthesizeStreamRequest


class Session:
    """One stream of one client. Belongs to one event loop."""

    def __init__(self, model: ServedModel, settings: StreamSettings) -> None:
        self.id, self.outbox = secrets.token_hex(8), Outbox()
        self._pipeline, self._settings = model.pipeline, settings
        config = model.pipeline.config
        self._decoder = FrameDecoder(config.bundle, config.max_pixels, settings.format)
        self._decoding = asyncio.Lock()
        self._blend = Blend() if settings.steady else None
        self._statistics = StatisticsKey(settings.steady)
        self._lost_cuts: list[int] = []
        """Numbers of dropped frames that began a scene; the next one that is kept begins it."""
        self._shown = settings.choice
        self._pacer = Pacer(monotonic())
        self._mailbox: deque[Arrival] = deque()
        self._making: list[Arrival] = []
        """Frames that the engine or its queue has, or that are being encoded."""
        self._unacknowledged: deque[int] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._frames, self._last_id = 0, -1
        self._open = 0
        """Frames that are neither shown nor dropped yet."""
        self._missed: int | None = None
        self._choice = settings.choice
        self._fault: ServiceError | None = None
        self._untold: list[pb.InstanceStyle] = []
        """Styles that came with frames that were dropped."""
        self._has_instances = self._is_leaving = self._has_ended = False
        self._own_heartbeat = -1
        ready = pb.Ready(
            session_id=self.id,
            model=model.description.name,
            model_version=model.description.version,
            window=WINDOW if settings.is_ordered else 0,
        )
        self.outbox.put(ready=ready)

    def start(self, requests: AsyncIterator[Request]) -> None:
        """Begin to serve; what there is to say goes to the outbox, which is closed at the end."""
        self._spawn(self._listen(requests))
        self._working = self._spawn(self._work())

    async def leave(self, drain_s: float) -> None:
        """Take no more frames; end when those that wait are done, or when the time is over."""
        self._is_leaving = True
        self.outbox.put(go_away=pb.GoAway(drain_s=drain_s))
        self._wake()
        _, late = await asyncio.wait({self._working}, timeout=drain_s)
        if late:
            for frame in self._mailbox:
                self._drop(frame, OVERLOADED)
            self._mailbox.clear()
            await self.close()
            self.outbox.close()

    async def close(self) -> None:
        """Give up whatever is being done."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def beat(self) -> None:
        """Show the client that the stream lives."""
        self._own_heartbeat = int(monotonic() * 1e6)
        self.outbox.put(heartbeat=pb.Heartbeat(time_us=self._own_heartbeat))

    # ---- What the client says --------------------------------------------------------------

    async def _listen(self, requests: AsyncIterator[Request]) -> None:
        async for request in requests:
            match request.WhichOneof("message"):
                case "frame":
                    await self._arrive(request.frame)
                case "ack":
                    self._acknowledge(request.ack.frame_id)
                case "styles":
                    self._restyle(request.styles)
                case "heartbeat" if request.heartbeat.time_us != self._own_heartbeat:
                    self.outbox.put(heartbeat=request.heartbeat)
                case "config":
                    words = "config: is the first message of a stream, and no other"
                    raise ServiceError.at(["config"], "INVALID_FIELD", words)
            await self.outbox.room()
        self._has_ended = True
        self._wake()

    async def _arrive(self, message: pb.Frame) -> None:
        now = monotonic()
        max_age_s = message.max_age_ms / 1000 or self._settings.max_age_s
        deadline = now + max_age_s if max_age_s else None
        frame = Arrival(self._frames, message, now, deadline, self._choice)
        self._frames += 1
        self._open += 1
        self._pacer.arrived()
        if message.frame_id <= self._last_id:
            words = f"frame_id: {message.frame_id} does not rise from {self._last_id}"
            self._drop(frame, INVALID, ServiceError.at(["frame_id"], "INVALID_FIELD", words))
            return
        self._last_id = message.frame_id
        self._has_instances |= bool(message.instance.data or message.instance_tiles)
        if self._is_leaving:
            self._drop(frame, OVERLOADED)
        elif self._settings.is_ordered:
            self._queue_up(frame)
        else:
            await self._replace(frame)

    def _queue_up(self, frame: Arrival) -> None:
        if self._open > WINDOW:
            self._missed = frame.message.frame_id
            self._drop(frame, OVERLOADED)
            return
        frame.missed, self._missed = self._missed, None
        self._mailbox.append(frame)
        self._wake()

    async def _replace(self, frame: Arrival) -> None:
        """Let a frame wait in the place of the older one that waits."""
        if self._mailbox and not self._is_whole(frame.message):
            async with self._decoding:
                # Not there any more if it was that one which was being decoded.
                while self._mailbox:
                    await self._skip(self._mailbox.popleft(), SUPERSEDED)
        while self._mailbox:
            self._drop(self._mailbox.popleft(), SUPERSEDED)
        self._mailbox.append(frame)
        self._wake()

    def _is_whole(self, message: pb.Frame) -> bool:
        """Whether a frame brings all that it shows, so that it needs none before it."""
        return bool(message.label.data and (message.instance.data or not self._has_instances))

    def _acknowledge(self, frame_id: int) -> None:
        while self._unacknowledged and self._unacknowledged[0] <= frame_id:
            self._unacknowledged.popleft()
        self._wake()

    def _restyle(self, styles: pb.Styles) -> None:
        try:
            self._choice = style_choice(styles, self._pipeline.bundle.classes)
            self._fault = None
        except ServiceError as error:
            self._fault = error

    # ---- From the mailbox to the engine ----------------------------------------------------

    async def _work(self) -> None:
        latest: asyncio.Task[None] | None = None
        while (frame := await self._next_frame()) is not None:
            try:
                ready = await self._decode(frame)
                if ready is None or not await self._gets_its_turn(frame):
                    continue
            except asyncio.CancelledError:
                self._give_up(frame)
                raise
            latest = self._spawn(self._make(frame, self._begin(frame, ready), latest))
        if latest is not None:
            await asyncio.wait({latest})
        self.outbox.close()

    def _begin(self, frame: Arrival, ready: FrameScene) -> FrameScene:
        """Note a frame that the engine gets, and whose normalisation statistics it shares."""
        late = [number for number in self._lost_cuts if number > frame.number]
        frame.begins_scene = frame.message.scene_cut or len(late) < len(self._lost_cuts)
        self._lost_cuts = late
        self._making.append(frame)
        key = self._statistics.of(frame, ready.view)
        return replace(ready, scene=replace(ready.scene, key=key))

    async def _next_frame(self) -> Arrival | None:
        """Wait for a frame whose result may be sent; None at the end."""
        while not (self._mailbox and self._may_make()):
            if not self._mailbox and (self._has_ended or self._is_leaving):
                return None
            await self._change()
        return self._mailbox.popleft()

    def _may_make(self) -> bool:
        """Whether the engine may be given a frame."""
        if self._making and not self._making[-1].has_started:
            # It waits in the queue, where the new one takes its place.
            return not self._settings.is_ordered
        if self._has_ended:  # no more acks can come
            return True
        out = len(self._making) + len(self._unacknowledged)
        return out < self._settings.max_unacknowledged

    async def _gets_its_turn(self, frame: Arrival) -> bool:
        """Wait until the engine may be given the frame, unless a newer one makes it useless."""
        while not self._may_make():
            if self._mailbox and not self._settings.is_ordered:
                self._drop(frame, SUPERSEDED)
                return False
            await self._change()
        return True

    async def _decode(self, frame: Arrival) -> FrameScene | None:
        """Make the scene of a frame, None if it had to be dropped."""
        async with self._decoding:
            if frame.is_late:
                await self._skip(frame, EXPIRED)
                return None
            try:
                with timed("decode", frame.times):
                    ready = await self._pipeline.on_codec_pool(self._read, frame)
            except ServiceError as error:
                self._drop(frame, INVALID, error)
                return None
        frame.new_styles = ready.new_styles
        if self._fault is not None:
            # The styles were faulty and could not be refused: only frames are answered.
            self._drop(frame, INVALID, self._fault)
            self._fault = None
            return None
        return ready

    async def _skip(self, frame: Arrival, reason: pb.DropReason) -> None:
        """Drop a frame, but take over what it changes: the next ones build on it."""
        try:
            await self._pipeline.on_codec_pool(self._apply, frame)
        except ServiceError as error:
            self._drop(frame, INVALID, error)
        else:
            self._drop(frame, reason)

    def _apply(self, frame: Arrival) -> None:
        if frame.missed is not None:
            self._decoder.maps.miss(frame.missed)
        self._decoder.maps.apply(frame.message)

    def _read(self, frame: Arrival) -> FrameScene:
        self._apply(frame)
        return self._decoder.scene(frame.message, frame.choice)

    # ---- From the engine to the client -----------------------------------------------------

    async def _make(
        self, frame: Arrival, ready: FrameScene, previous: asyncio.Task[None] | None
    ) -> None:
        try:
            photo = await self._photo(frame, ready, previous)
            if previous is not None:
                await asyncio.wait({previous})
        except SupersededError:
            self._drop(frame, SUPERSEDED)
        except ServiceError as error:
            reason = reason_of(error)
            self._drop(frame, reason, error if reason == INVALID else None)
        except asyncio.CancelledError:
            self._give_up(frame)
            raise
        except Exception:
            log.exception("frame %d of stream %s failed", frame.message.frame_id, self.id)
            words = "the server failed on this frame; its log has the details"
            self._drop(frame, INVALID, ServiceError("INTERNAL", words))
        else:
            self._deliver(frame, ready, photo)
        finally:
            self._making.remove(frame)
            self._wake()
        if previous is not None:
            # Also after a drop: the next frame waits for this one to stay behind all before it.
            await asyncio.wait({previous})

    async def _photo(
        self, frame: Arrival, ready: FrameScene, previous: asyncio.Task[None] | None
    ) -> Photo:
        pixels = await self._pipeline.infer(
            ready.scene,
            frame.times,
            Lane.STREAM,
            None if self._settings.is_ordered else self.id,
            frame.deadline,
            lambda: self._start(frame),
        )
        if self._blend is not None:
            if previous is not None:
                await asyncio.wait({previous})
            is_new = frame.begins_scene or frame.choice != self._shown
            self._shown = frame.choice
            pixels = await self._pipeline.on_codec_pool(
                self._blend.blend, ready.view, pixels, is_new
            )
        rows, columns = ready.view.inner
        wanted = pixels[rows, columns]
        settings = self._settings
        return await self._pipeline.encode(wanted, settings.format, settings.quality, frame.times)

    def _start(self, frame: Arrival) -> None:
        frame.has_started = True
        self._wake()

    def _deliver(self, frame: Arrival, ready: FrameScene, photo: Photo) -> None:
        now, message, times = monotonic(), frame.message, frame.times
        result = pb.FrameResult(
            frame_id=message.frame_id,
            capture_time_us=message.capture_time_us,
            photo=photo_message(photo),
            seconds=stage_seconds(times),
            age=now - frame.since,
            region=ready.view.region,
            new_styles=self._untold + frame.new_styles,
        )
        self._untold = []
        self._open -= 1
        self._unacknowledged.append(message.frame_id)
        self.outbox.put(result=result)
        metrics.STREAM_FRAMES.labels("delivered").inc()
        metrics.STREAM_AGE_SECONDS.observe(now - frame.since)
        pace = self._pacer.delivered(now, times["queue"] + times["infer"])
        if pace is not None:
            self.outbox.put(pacing=pb.Pacing(frames_per_second=pace))

    def _drop(
        self, frame: Arrival, reason: pb.DropReason, error: ServiceError | None = None
    ) -> None:
        self._untold += frame.new_styles
        if frame.begins_scene or frame.message.scene_cut:
            self._hand_on_scene_cut(frame)
        self._open -= 1
        self.outbox.drop(frame.number, frame.message.frame_id, reason, error)
        metrics.STREAM_FRAMES.labels(OUTCOMES[reason]).inc()

    def _hand_on_scene_cut(self, frame: Arrival) -> None:
        """Let the next frame that is kept begin the scene in the place of one that is dropped."""
        later = [other for other in self._making if other.number > frame.number]
        if later:
            later[0].begins_scene = True
        else:
            self._lost_cuts.append(frame.number)

    def _give_up(self, frame: Arrival) -> None:
        if self._is_leaving:  # else the client has left, and nobody wants to know
            self._drop(frame, OVERLOADED)

    # ---- Inside ----------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._note_end)
        return task

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.outbox.close(task.exception())

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
