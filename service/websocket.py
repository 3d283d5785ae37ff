"""Streams over WebSocket, for browsers and for engines without HTTP/2.

Every binary message is one message of the stream, as bytes of protobuf:
``SynthesizeStreamRequest`` from the client, ``SynthesizeStreamResponse`` from the server.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from time import perf_counter
from urllib.parse import urlsplit

from fastapi import APIRouter
from google.protobuf.message import DecodeError
from hdsynth.v1 import synthesis_pb2 as pb
from starlette.websockets import WebSocket, WebSocketDisconnect

from service import metrics
from service.errors import ServiceError
from service.problem import problem_response
from service.schemas import ModelDescription
from service.stream import Streams

SUBPROTOCOL = "hdsynth.v1"
PATH = "/v1/stream"
_FAULTY, _TRY_LATER, _BROKEN = 1008, 1013, 1011
"""Close codes (RFC 6455, section 7.4.1)."""
_MAX_REASON = 120
"""Bytes of a close reason, of which the protocol allows 123."""

access_log = logging.getLogger("service.access")
error_log = logging.getLogger("service.error")
router = APIRouter()


@router.websocket(PATH)
async def stream(socket: WebSocket) -> None:
    """Serve one stream."""
    state = socket.app.state
    if not _may_come(socket, state.cors_origins):
        origin = socket.headers["origin"]
        words = f"origin: pages of {origin[:100]!r} may not stream; add it to cors_origins"
        refusal = problem_response(socket.scope, ServiceError("PERMISSION_DENIED", words))
        await socket.send_denial_response(refusal)
        return
    offered = socket.scope["subprotocols"]
    await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    await _serve(socket, state.streams)


async def _serve(socket: WebSocket, streams: Streams) -> None:
    """Serve an accepted stream and tell how it ended, to the client, the metrics and the log."""
    model, started, reason, code = "", perf_counter(), "CANCELLED", 1001

    def note_model(description: ModelDescription) -> None:
        nonlocal model
        model = description.name

    try:
        async with aclosing(streams.serve(_requests(socket), "websocket", note_model)) as messages:
            async for message in messages:
                await socket.send_bytes(message.SerializeToString())
        reason, code = "OK", 1000
        await socket.close()
    except ServiceError as error:
        reason, code = error.reason, _TRY_LATER if error.row.retryable else _FAULTY
        await _close_with(socket, error, code)
    except WebSocketDisconnect:
        pass  # the client has left, which is how most streams end
    except Exception:  # noqa: BLE001, it is logged and told
        reason, code = "INTERNAL", _BROKEN
        error_log.exception("stream %s failed", socket.state.request_id)
        words = "the server failed; its log has the details under the request id"
        await _close_with(socket, ServiceError("INTERNAL", words), code)
    finally:
        seconds = perf_counter() - started
        metrics.REQUESTS.labels("websocket", model, str(code), reason).inc()
        metrics.REQUEST_SECONDS.labels("websocket", model).observe(seconds)
        fields = {
            "method": "WEBSOCKET", "path": PATH, "status": code, "reason": reason,
            "duration_ms": round(seconds * 1000, 1), "api": "websocket", "model": model,
            "caller": socket.scope["state"].get("caller", ""),
            "client": (socket.scope["client"] or ("",))[0],
        }  # fmt: skip
        access_log.info("WebSocket %s %s %.1f s", PATH, reason, seconds, extra=fields)


async def _requests(socket: WebSocket) -> AsyncIterator[pb.SynthesizeStreamRequest]:
    """Read messages until the client leaves. Raises ServiceError, WebSocketDisconnect."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"], message.get("reason"))
        data = message.get("bytes")
        if data is None:
            raise ServiceError("INVALID_MESSAGE", "messages are binary, protobuf; this one is text")
        try:
            request = pb.SynthesizeStreamRequest.FromString(data)
        except DecodeError as error:
            raise ServiceError(
                "INVALID_MESSAGE",
                f"the message cannot be read: {str(error)[:200]}; check that client and server "
                "use the same .proto file",
            ) from error
        yield request


async def _close_with(socket: WebSocket, error: ServiceError, code: int) -> None:
    """Close for an error, after telling it in full; a close frame holds few words."""
    detail = pb.ErrorDetail(reason=error.reason, message=error.detail)
    notice = pb.FrameDropped(reason=pb.DROP_REASON_INVALID, error=detail)
    words = f"{error.reason}: {error.detail}".encode()[:_MAX_REASON].decode(errors="ignore")
    try:
        await socket.send_bytes(pb.SynthesizeStreamResponse(dropped=notice).SerializeToString())
        await socket.close(code, words)
    except (WebSocketDisconnect, RuntimeError):
        pass  # it has left meanwhile


def _may_come(socket: WebSocket, allowed: Sequence[str]) -> bool:
    """Whether a page may open a stream: one of ours or of an allowed origin.

    Browsers do not ask before they open a WebSocket to another site, as they do for requests.
    Programs that are no browsers send no origin.
    """
    origin = socket.headers.get("origin")
    if origin is None or "*" in allowed or origin in allowed:
        return True
    return urlsplit(origin).netloc == socket.headers.get("host")
