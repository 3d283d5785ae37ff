"""Streams of frames in, photographs out, for ``await``; needs the ``grpc`` extra.

The caller sends at its own pace and is never held up: a frame that could not leave yet gives way
to a newer one. Every frame is answered by one event, a Result or a Dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Self

import grpc
import grpc.aio
import numpy as np

from hdsynth_client._wire import synthesis_pb2 as pb
from hdsynth_client.errors import ConnectionFailedError, HdsynthError
from hdsynth_client.retry import Retry
from hdsynth_client.rpc import error_of, key_metadata, open_aio_channel, styles_message
from hdsynth_client.stream_config import StreamConfig
from hdsynth_client.stream_events import (
    Dropped,
    Event,
    GoAway,
    Ready,
    Rectangle,
    Result,
    drop_of,
    event_of,
)
from hdsynth_client.stream_maps import MapSender
from hdsynth_client.types import Map, Styles, as_plane

_METHOD = "/hdsynth.v1.SynthesisService/SynthesizeStream"
MOST_UNANSWERED = 8
"""Frames on their way or on the server at once; a slow network would fill up with old ones."""

_Request = pb.SynthesizeStreamRequest


@dataclass
class _Frame:
    """A frame that waits to leave."""

    message: pb.Frame
    label: Map
    instance: Map | None


class AsyncStream:
    """An open stream; an asynchronous context manager and iterator of events.

    Opened by ``open_async_stream``. Taking a Result acknowledges it: the server sends no more than
    two that were not taken.
    """

    def __init__(
        self,
        address: str,
        config: StreamConfig,
        *,
        key: str | None,
        tls: bool,
        ca: str | None,
        reconnect: bool,
        retry: Retry,
    ) -> None:
        self._channel = open_aio_channel(address, tls, ca)
        self._call_method: Any = self._channel.stream_stream(
            _METHOD,
            request_serializer=_Request.SerializeToString,
            response_deserializer=pb.SynthesizeStreamResponse.FromString,
        )
        self._metadata, self._config = key_metadata(key), config.message
        self._is_ordered = config.delivery == "ordered"
        self._reconnect, self._retry = reconnect, retry
        self._label, self._instance = MapSender("label"), MapSender("instance")
        self._controls: deque[_Request] = deque()
        self._waiting: _Frame | None = None
        self._unanswered: dict[int, None] = {}
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._ready = Ready("", "", "", 0)
        self._next_id = 0
        self._is_sent_away = self._has_ended = self._is_over = False
        self._error: HdsynthError | None = None
        self._task: asyncio.Task[None] | None = None

    # ---- What the caller does --------------------------------------------------------------

    async def send(
        self,
        label: Map,
        instance: Map | None = None,
        *,
        capture_time_us: int | None = None,
        max_age_ms: int = 0,
        scene_cut: bool = False,
        region: Rectangle | None = None,
        reduction: int = 0,
    ) -> int:
        """Hand in a frame and return its id; ids count up from 0.

        Returns at once in latest delivery; waits in ordered delivery until the server has room,
        which it only gets when events are taken. ``capture_time_us`` is any clock of the caller,
        the monotonic one by default; ``region`` and ``reduction`` say what part is synthesised,
        and at which fraction of the size (1..8). Arrays are copied.

        Raises ValueError for an array that is no map, and the error that ended the stream.
        """
        planes = _plane(label, "label"), None if instance is None else _plane(instance, "instance")
        while not (self._is_over or self.has_room):
            await self._change()
        if self._has_ended:
            raise ValueError("no frame can be sent after end()")
        if self._is_over:
            raise self._error or ConnectionFailedError("the server has ended the stream")
        number, self._next_id = self._next_id, self._next_id + 1
        now_us = time.monotonic_ns() // 1000
        message = pb.Frame(
            frame_id=number,
            capture_time_us=now_us if capture_time_us is None else capture_time_us,
            max_age_ms=max_age_ms,
            scene_cut=scene_cut,
            reduction=reduction,
        )
        if region is not None:
            message.region.CopyFrom(pb.Rectangle(**vars(region)))
        if self._waiting is not None:
            older = self._waiting.message
            message.scene_cut |= older.scene_cut  # the cut came with a frame that nobody will see
            self._tell(Dropped(older.frame_id, "superseded"))
        self._waiting = _Frame(message, *planes)
        self._changed.set()
        return number

    @property
    def has_room(self) -> bool:
        """Whether ``send`` would return at once."""
        return not self._is_ordered or (self._waiting is None and self._may_leave)

    def restyle(self, styles: Styles) -> None:
        """Replace the stream's styles from the next frame on."""
        self._config.styles.CopyFrom(styles_message(styles))
        self._controls.append(_Request(styles=self._config.styles))
        self._changed.set()

    async def take(self) -> Event | None:
        """Wait for the next event; None = the stream has ended. Raises the error that ended it."""
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)  # for whoever asks again
            if self._error is not None:
                raise self._error
        if isinstance(event, Result):
            self._controls.append(_Request(ack=pb.Ack(frame_id=event.frame_id)))
            self._changed.set()
        return event

    async def poll(self) -> list[Event]:
        """Return the events that are there. Raises the error that ended the stream."""
        events = []
        while not self._events.empty():
            event = await self.take()
            if event is None:
                break
            events.append(event)
        return events

    def end(self) -> None:
        """Send no more frames; events come until all have been answered."""
        self._has_ended = True
        self._changed.set()

    async def aclose(self) -> None:
        """Give up what is on its way and close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        try:
            call = await self._retry.run_async(self._open)
        except BaseException:
            await self._channel.close(None)
            raise
        self._task = asyncio.create_task(self._run(call))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while (event := await self.take()) is not None:
            yield event

    # ---- The connection --------------------------------------------------------------------

    async def _open(self) -> Any:
        """Open a call and wait until the server is ready."""
        call = self._call_method(metadata=self._metadata)
        try:
            await call.write(_Request(config=self._config))
            response = await call.read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            raise await _error(call, error) from error
        # The type stubs do not know EOF.
        if response is grpc.aio.EOF or not response.HasField("ready"):  # type: ignore[attr-defined]
            raise ConnectionFailedError("the server ended the stream before it began")
        self._ready = Ready(
            response.ready.session_id,
            response.ready.model,
            response.ready.model_version,
            response.ready.window,
        )
        self._label, self._instance = MapSender("label"), MapSender("instance")
        self._is_sent_away = False
        self._controls.clear()
        self._tell(self._ready)
        return call

    async def _run(self, call: Any) -> None:
        try:
            while await self._converse(call):
                call = await self._retry.run_async(self._open)
        except HdsynthError as error:
            self._error = error
        finally:
            self._is_over = True
            self._lose(also_waiting=True)
            self._tell(None)
            self._changed.set()

    async def _converse(self, call: Any) -> bool:
        """Serve a call to its end; return whether the stream is to be opened again."""
        writing = asyncio.create_task(self._write(call))
        try:
            await self._read(call)
        except ConnectionFailedError:
            if not self._reconnect or self._has_ended:
                raise
        else:
            if not (self._reconnect and self._is_sent_away):
                return False
        finally:
            writing.cancel()
            await asyncio.wait({writing})
            call.cancel()
        self._lose(also_waiting=False)
        return not self._has_ended or self._waiting is not None

    async def _read(self, call: Any) -> None:
        try:
            while (response := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
                if response.HasField("dropped"):
                    self._note_drop(response.dropped)
                elif (event := event_of(response, self._ready.model_version)) is not None:
                    self._note(event)
        except grpc.aio.AioRpcError as error:
            raise await _error(call, error) from error

    def _note(self, event: Event) -> None:
        if isinstance(event, Result):
            self._unanswered.pop(event.frame_id, None)
        elif isinstance(event, GoAway):
            self._is_sent_away = True
        self._tell(event)
        self._changed.set()

    def _note_drop(self, notice: pb.FrameDropped) -> None:
        for number in [*self._unanswered]:
            # A notice spans frames too that never left, which have been told of.
            if notice.first_frame_id <= number <= notice.last_frame_id:
                del self._unanswered[number]
                self._tell(drop_of(notice, number))
        if notice.reason in {pb.DROP_REASON_INVALID, pb.DROP_REASON_OVERLOADED}:
            self._label.forget()  # the server may lack what the frame changed
            self._instance.forget()
        self._changed.set()

    async def _write(self, call: Any) -> None:
        try:
            while (request := await self._next_request()) is not None:
                await call.write(request)
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the call has ended, and whoever reads it knows why

    async def _next_request(self) -> _Request | None:
        while True:
            if self._controls:
                return self._controls.popleft()
            if self._waiting is not None and self._may_leave:
                frame, self._waiting = self._waiting, None
                self._unanswered[frame.message.frame_id] = None
                self._changed.set()
                # Packing takes milliseconds, in which the caller's loop should go on.
                return await asyncio.to_thread(_pack, frame, self._label, self._instance)
            if self._has_ended and self._waiting is None:
                return None
            await self._change()

    @property
    def _may_leave(self) -> bool:
        most = self._ready.window or MOST_UNANSWERED
        return len(self._unanswered) < most and not self._is_sent_away

    def _lose(self, also_waiting: bool) -> None:
        for number in self._unanswered:
            self._tell(Dropped(number, "lost"))
        self._unanswered.clear()
        if also_waiting and self._waiting is not None:
            number, self._waiting = self._waiting.message.frame_id, None
            self._tell(Dropped(number, "lost"))

    def _tell(self, event: Event | None) -> None:
        self._events.put_nowait(event)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _plane(map_: Map, name: str) -> Map:
    """Check and copy a map: the caller may draw the next frame into its array."""
    return as_plane(map_, name).copy() if isinstance(map_, np.ndarray) else map_


def _pack(frame: _Frame, label: MapSender, instance: MapSender) -> _Request:
    message = frame.message
    whole, tiles = label.pack(frame.label)
    if whole is not None:
        message.label.CopyFrom(whole)
    message.label_tiles.extend(tiles)
    if frame.instance is not None:
        whole, tiles = instance.pack(frame.instance)
        if whole is not None:
            message.instance.CopyFrom(whole)
        message.instance_tiles.extend(tiles)
    return _Request(frame=message)


async def _error(call: Any, error: Exception) -> HdsynthError:
    """Read why a call has ended."""
    if isinstance(error, grpc.RpcError):
        return error_of(error)
    return ConnectionFailedError(f"{(await call.code()).name}: {await call.details()}")
