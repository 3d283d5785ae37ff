"""The streams of a server, for every face: messages in, messages out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from hdsynth.v1 import synthesis_pb2 as pb

from service import metrics
from service.errors import ServiceError
from service.schemas import ModelDescription
from service.served import Models, ServedModel
from service.stream_config import StreamSettings
from service.stream_outbox import Response
from service.stream_session import Request, Session

HEARTBEAT_S = 10.0
"""Seconds without a message after which the server sends a heartbeat."""
DRAIN_S = 5.0
"""Most seconds that frames get to be finished when the server stops."""


class Streams:
    """All open streams. Belongs to one event loop."""

    def __init__(self, models: Models, shutdown_timeout_s: float) -> None:
        """Streams end within half of ``shutdown_timeout_s``, the time until they are cut off."""
        self._models, self._drain_s = models, min(DRAIN_S, shutdown_timeout_s / 2)
        self._sessions: dict[Session, ServedModel] = {}
        self._is_stopping = False

    async def serve(
        self,
        requests: AsyncIterator[Request],
        api: str,
        on_open: Callable[[ModelDescription], None] = lambda _: None,
    ) -> AsyncGenerator[Response, None]:
        """Serve one stream until ``requests`` end or the generator is closed.

        ``api`` names the face for the metrics; ``on_open`` is told the model. Raises ServiceError
        if the stream cannot be served at all; a faulty frame is a message like any other.
        """
        session, model = await self._open(requests, on_open)
        self._sessions[session] = model
        session.start(requests)
        try:
            with metrics.STREAM_SESSIONS.labels(api).track_inprogress():
                while (message := await _next_message(session)) is not None:
                    yield message
        finally:
            del self._sessions[session]
            await session.close()

    async def stop(self) -> None:
        """Send the clients away and wait until their streams have ended."""
        self._is_stopping = True
        await asyncio.gather(*(session.leave(self._drain_s) for session in self._sessions))

    async def retire(self, model: ServedModel) -> None:
        """Send the clients of a model away, to come again to the one that has taken its place."""
        leaving = (session for session, served in self._sessions.items() if served is model)
        await asyncio.gather(*(session.leave(self._drain_s) for session in leaving))

    async def _open(
        self, requests: AsyncIterator[Request], on_open: Callable[[ModelDescription], None]
    ) -> tuple[Session, ServedModel]:
        first = await anext(requests, pb.SynthesizeStreamRequest())
        if first.WhichOneof("message") != "config":
            raise ServiceError.at(
                ["config"], "MISSING_FIELD", "config: is missing; it is the first message"
            )
        if self._is_stopping:
            raise ServiceError("DRAINING", "the server is about to stop; ask another one")
        model = self._models.get(first.config.model)
        on_open(model.description)
        settings = StreamSettings.of(first.config, model.pipeline.bundle.classes)
        return Session(model, settings), model


async def _next_message(session: Session) -> Response | None:
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                return await session.outbox.next()
        except TimeoutError:
            session.beat()
