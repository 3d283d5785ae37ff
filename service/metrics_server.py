"""The metrics on a port of their own, which need not be reachable from where requests come.

The probes are there as well: with client certificates nobody without one could ask the other port.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ServiceError
from service.lifecycle import PROBES, Lifecycle
from service.metrics import LOOP_LAG_SECONDS, REGISTRY

_LAG_PERIOD_S = 0.5


@asynccontextmanager
async def serve_metrics(listener: socket.socket, lifecycle: Lifecycle) -> AsyncIterator[None]:
    """Answer /metrics and the probes on a listening socket, within the running event loop."""
    config = uvicorn.Config(
        _metrics_app(lifecycle),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = _BackgroundServer(config)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def measure_loop_lag() -> AsyncIterator[None]:
    """Keep the gauge of how late the event loop runs its timers."""
    measuring = asyncio.create_task(_measure_loop_lag())
    try:
        yield
    finally:
        measuring.cancel()


async def _measure_loop_lag() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LAG_PERIOD_S
        await asyncio.sleep(_LAG_PERIOD_S)
        LOOP_LAG_SECONDS.set(max(0.0, loop.time() - due))


class _BackgroundServer(uvicorn.Server):
    """A second server in the process, which leaves the signals to the first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _metrics_app(lifecycle: Lifecycle) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await _answer(Request(scope), lifecycle)(scope, receive, send)

    return app


def _answer(request: Request, lifecycle: Lifecycle) -> Response:
    path = request.url.path
    if path == "/metrics":
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(REGISTRY), headers={"Content-Type": media_type})
    if path not in PROBES:
        return PlainTextResponse(f"there are /metrics, {', '.join(PROBES)}\n", 404)
    try:
        return JSONResponse({"status": lifecycle.probe(path)})
    except ServiceError as error:
        return JSONResponse({"reason": error.reason, "detail": error.detail}, error.row.http)
