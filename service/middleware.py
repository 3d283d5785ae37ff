"""What happens around every request: an id, safe headers, a record, limits of the body."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ServiceError
from service.lifecycle import Lifecycle
from service.log import request_scope
from service.metrics import REQUEST_SECONDS, REQUESTS
from service.problem import problem_response
from service.request_ids import request_id

if TYPE_CHECKING:
    from service.tracing import Tracing

access_log = logging.getLogger("service.access")
error_log = logging.getLogger("service.error")

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

_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]


class RequestContext:
    """Gives a request its id and an answer whatever happens, and records how it went.

    Leaves in the request's state: ``request_id``, ``path``, ``stage_times``. Takes from there for
    its records: ``reason`` of a problem, ``caller``, and ``model`` where that is a known one.
    """

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle, tracing: Tracing | None = None) -> None:
        self._app, self._lifecycle, self._tracing = app, lifecycle, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection as ASGI defines it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = request_id(Headers(scope=scope).get("x-request-id", ""))
        state["stage_times"] = {}
        # As it was sent, percent-encoded: decoded, it could break lines in the log.
        state["path"] = scope["raw_path"].decode("ascii", "backslashreplace")
        with request_scope(state["request_id"]):
            if scope["type"] == "http":
                with _recorded(scope, self._tracing) as answer:
                    await self._serve(scope, receive, send, answer)
            else:
                await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, answer: _Answer) -> None:
        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                self._add_headers(MutableHeaders(scope=message), scope)
            await send(message)

        async def watch_client() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and not answer.status:
                answer.client_left = True
            return message

        failure = None
        try:
            await self._app(scope, watch_client, watch)
        except asyncio.CancelledError:
            # Its time after SIGTERM is over; anything else that cancels cannot be answered.
            if not self._lifecycle.draining or answer.status:
                raise
            failure = ServiceError("DRAINING", "the server stopped before this was done")
        except Exception:
            error_log.exception("request %s failed", scope["state"]["request_id"])
            if answer.status:  # too late for another answer; the server closes the connection
                raise
            failure = ServiceError(
                "INTERNAL", "the server failed; its log has the details under the request id"
            )
        if failure is not None:
            await problem_response(scope, failure)(scope, receive, watch)

    def _add_headers(self, headers: MutableHeaders, scope: Scope) -> None:
        headers["X-Request-Id"] = scope["state"]["request_id"]
        times: dict[str, float] = scope["state"]["stage_times"]
        if times:
            headers["Server-Timing"] = ", ".join(
                f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in times.items()
            )
        if self._lifecycle.draining:  # the next request should find another server
            headers["Connection"] = "close"
        given = {name for name, _ in headers.raw}
        headers.raw.extend(header for header in _RAW_HEADERS if header[0] not in given)


class UploadLimit:
    """Refuses request bodies that are too large, as announced or as they arrive, or too slow."""

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_s: float) -> None:
        self._app, self._max_bytes, self._timeout_s = app, max_bytes, timeout_s

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
        deadline: float | None = asyncio.get_running_loop().time() + self._timeout_s
        received = 0

        async def receive_within_limits() -> Message:
            nonlocal received, deadline
            if deadline is None:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                # The form parser lets this exception of the framework's own through.
                words = f"the request did not arrive within {self._timeout_s:g} s"
                raise HTTPException(408, words, {"Connection": "close"}) from None
            if not message.get("more_body", False):
                deadline = None  # from here on only the client's leaving is waited for
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                words = self._words("more bytes")
                raise HTTPException(413, words, {"Connection": "close"})
            return message

        await self._app(scope, receive_within_limits, send)

    def _words(self, amount: str) -> str:
        return f"the request body has {amount}; the limit is {self._max_bytes}"


class _Answer:
    status = 0
    """0 = none yet."""
    client_left = False
    """Whether the client closed the connection before there was an answer."""


@contextmanager
def _recorded(scope: Scope, tracing: Tracing | None) -> Iterator[_Answer]:
    """Tell log, metrics and traces how the request went."""
    state, answer, started = scope["state"], _Answer(), perf_counter()
    trace = tracing.start(scope["method"], dict(Headers(scope=scope))) if tracing else None
    try:
        yield answer
    finally:
        seconds = perf_counter() - started
        status = 499 if answer.client_left else answer.status or 500
        reason = _reason(state, answer, status)
        api, model = _api(scope), state.get("model", "")
        REQUESTS.labels(api, model, str(status), reason).inc()
        REQUEST_SECONDS.labels(api, model).observe(seconds)
        fields: dict[str, Any] = {
            "method": scope["method"], "path": state["path"], "status": status, "reason": reason,
            "duration_ms": round(seconds * 1000, 1), "api": api, "model": model,
            "caller": state.get("caller", ""), "client": (scope["client"] or ("",))[0],
        }  # fmt: skip
        if trace is not None:
            fields["trace_id"] = trace.trace_id
            trace.end(
                f"{scope['method']} {api}",
                state["stage_times"],
                {
                    "http.request.method": scope["method"],
                    "http.response.status_code": status,
                    "url.path": state["path"],
                    "hdsynth.model": model,
                    "hdsynth.reason": reason,
                    "hdsynth.request_id": state["request_id"],
                },
                failed=status >= 500,
            )
        words = "%s %s %d %.0f ms"
        access_log.info(words, scope["method"], state["path"], status, seconds * 1000, extra=fields)


def _reason(state: dict[str, Any], answer: _Answer, status: int) -> str:
    if answer.client_left:
        return "CANCELLED"
    if status < 400:
        return "OK"
    return str(state.get("reason") or ("INTERNAL" if status >= 500 else "OTHER"))


def _api(scope: Scope) -> str:
    """Name the route, never the address: what clients make up must not become a label."""
    name = getattr(scope.get("route"), "name", None)
    return f"rest.{name}" if name else "other"
