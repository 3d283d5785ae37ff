"""Who may use the server, and how much of it: API keys and limits around every route."""

from __future__ import annotations

from contextlib import ExitStack

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from service.auth import Authenticator
from service.errors import ServiceError
from service.lifecycle import PROBES
from service.limits import Limiter
from service.problem import problem_response

# Whatever is not listed needs a key. The pages hold nothing secret, and a browser that opens one
# cannot send a key yet.
_OPEN = {*PROBES, "/v2/health/live", "/v2/health/ready", "/", "/docs", "/studio", "/openapi.json"}
_OPEN_FOLDERS = ("/static/", "/docs/")

SUBPROTOCOL = "hdsynth.key."
"""Before a key among the subprotocols of a WebSocket: browsers can send no header with one."""


class AccessControl:
    """Refuses callers without a valid key, and those that ask more than they may."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, limiter: Limiter) -> None:
        self._app, self._authenticator, self._limiter = app, authenticator, limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection as ASGI defines it."""
        if scope["type"] == "lifespan" or _is_open(scope):
            await self._app(scope, receive, send)
            return
        with ExitStack() as stack:
            try:
                stack.enter_context(self._limiter.admit(self._caller(scope)))
            except ServiceError as error:
                await _refuse(error, scope, receive, send)
                return
            await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        key = headers.get("x-api-key") or _key_in_subprotocols(scope)
        name = self._authenticator.identify(headers.get("authorization"), key)
        scope["state"]["caller"] = name
        return name or (scope["client"] or ("",))[0]


def _is_open(scope: Scope) -> bool:
    path: str = scope["path"]
    if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
        return False
    return path in _OPEN or path.startswith(_OPEN_FOLDERS)


def _key_in_subprotocols(scope: Scope) -> str | None:
    offered = (name for name in scope.get("subprotocols", ()) if name.startswith(SUBPROTOCOL))
    return next((name.removeprefix(SUBPROTOCOL) for name in offered), None)


async def _refuse(error: ServiceError, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {}
    if error.reason == "UNAUTHENTICATED":
        headers["WWW-Authenticate"] = 'Bearer realm="hdsynth"'
    response = problem_response(scope, error, headers)
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)
