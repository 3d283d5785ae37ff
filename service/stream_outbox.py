"""What a stream has to tell its client, in order."""

from __future__ import annotations

import asyncio
from collections import deque

from hdsynth.v1 import synthesis_pb2 as pb

from service.errors import ServiceError

Response = pb.SynthesizeStreamResponse
ROOM = 64
"""Messages that may wait before no more is read from the client."""


class Outbox:
    """Messages that wait to be sent. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[Response] = deque()
        self._came, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._error: BaseException | None = None
        self._is_closed = False
        self._last_drop = -1

    def put(self, **message: object) -> None:
        """Let a message wait, given as the field of the response: ``put(result=...)``."""
        self._waiting.append(Response(**message))  # type: ignore[arg-type]
        self._last_drop = -1
        self._note()

    def drop(
        self, number: int, frame_id: int, reason: pb.DropReason, error: ServiceError | None = None
    ) -> None:
        """Tell that a frame was dropped; ``number`` counts the frames of the stream.

        Frames that followed each other and were dropped for the same reason share a notice, if
        the first one's still waits.
        """
        last = self._waiting[-1].dropped if self._waiting else pb.FrameDropped()
        if last.reason == reason and not error and number == self._last_drop + 1:
            last.last_frame_id = frame_id
        else:
            detail = None
            if error is not None:
                detail = pb.ErrorDetail(reason=error.reason, message=error.detail)
            self.put(
                dropped=pb.FrameDropped(
                    first_frame_id=frame_id, last_frame_id=frame_id, reason=reason, error=detail
                )
            )
        self._last_drop = number if error is None else -1

    def close(self, error: BaseException | None = None) -> None:
        """End the stream once all messages are sent, with an error if there is one."""
        self._is_closed, self._error = True, error
        self._came.set()

    async def next(self) -> Response | None:
        """Wait for the next message; None = the end. Raises the error of ``close``."""
        while not self._waiting:
            if self._error is not None:
                raise self._error
            if self._is_closed:
                return None
            self._came.clear()
            await self._came.wait()
        message = self._waiting.popleft()
        self._note()
        return message

    async def room(self) -> None:
        """Wait until not too many messages wait."""
        await self._room.wait()

    def _note(self) -> None:
        (self._room.set if len(self._waiting) < ROOM else self._room.clear)()
        self._came.set()
