"""What happens around every request: an id, a size limit, safe headers, a line in the log."""

from __future__ import annotations

import logging
import re
import uuid
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ServiceError
from service.problem import problem_response

access_log = logging.getLogger("service.access")
error_log = logging.getLogger("service.error")

# Ids of the caller's own go into our headers and log, so only harmless ones are taken over.
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

# Scripts, styles and pictures come from this server alone, and none of them inline.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class RequestContext:
    """Gives a request its id and answers it, with a problem if the application fails."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection as ASGI defines it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), 0
        state = scope.setdefault("state", {})
        state["request_id"], state["stage_times"] = _request_id(scope), {}
        # As it was sent, percent-encoded: decoded, it could break lines in the log.
        state["path"] = scope["raw_path"].decode("ascii", "backslashreplace")

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), scope)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            error_log.exception("request %s failed", state["request_id"])
            if status:  # too late for another answer; the server closes the connection
                raise
            failure = ServiceError(
                "INTERNAL", "the server failed; its log has the details under the request id"
            )
            await problem_response(scope, failure)(scope, receive, send_with_headers)
        finally:
            elapsed_ms = (perf_counter() - started) * 1000
            access_log.info(
                "%s %s %s %.0f ms %s",
                *(scope["method"], state["path"], status, elapsed_ms, state["request_id"]),
            )


class UploadLimit:
    """Refuses request bodies above a size: by what they announce, or while they arrive."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection as ASGI defines it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            error = ServiceError("UPLOAD_TOO_LARGE", self._words(f"{announced} bytes"))
            await problem_response(scope, error, {"Connection": "close"})(scope, receive, send)
            return
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                # The form parser lets this exception of the framework's own through.
                words = self._words("more bytes")
                raise HTTPException(413, words, {"Connection": "close"})
            return message

        await self._app(scope, receive_within_limit, send)

    def _words(self, amount: str) -> str:
        return f"the request body has {amount}; the limit is {self._max_bytes}"


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def _add_headers(headers: MutableHeaders, scope: Scope) -> None:
    headers["X-Request-Id"] = scope["state"]["request_id"]
    times: dict[str, float] = scope["state"]["stage_times"]
    if times:
        headers["Server-Timing"] = ", ".join(
            f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in times.items()
        )
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
