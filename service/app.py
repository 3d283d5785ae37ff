"""The composition root: puts the server together, starts it and stops it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from importlib.metadata import version
from time import perf_counter
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service.access import AccessControl
from service.admin import router as admin
from service.auth import Authenticator
from service.early_refusal import EarlyRefusal
from service.encode_rest import router as encoding
from service.lifecycle import Lifecycle
from service.lifecycle import router as health
from service.limits import Limiter
from service.log import set_up_logging
from service.memory import keep_freed_memory
from service.metrics_server import measure_loop_lag, serve_metrics
from service.middleware import RequestContext, UploadLimit
from service.model_manager import ModelManager
from service.oip_rest import router as inference
from service.openapi import describe_openapi
from service.pages import add_pages
from service.problem import add_problem_handlers
from service.rest import router
from service.served import Models
from service.server import Server
from service.settings import Settings
from service.stream import Streams
from service.websocket import router as websocket

if TYPE_CHECKING:
    from service.tracing import Tracing

log = logging.getLogger(__name__)


def create_app(
    settings: Settings, on_failure: Callable[[Exception], None] | None = None
) -> FastAPI:
    """Build the application; it loads its model in the background once it is started.

    ``on_failure`` is called if that fails; without it the application lives on, never ready.
    Its state holds what the other faces share: ``lifecycle``, ``authenticator``, ``limiter`` and
    ``tracing``. Raises what stands in their way.
    """
    lifecycle = Lifecycle()
    tracing = _tracing(settings.tracing_endpoint)
    models = Models()
    streams = Streams(models, settings.shutdown_timeout_s)
    manager = ModelManager(settings, models, streams.retire, on_failure or (lambda _: None))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(_load_in_background(app, manager, on_failure))
        yield
        loading.cancel()
        with suppress(asyncio.CancelledError):
            await loading
        await lifecycle.stopped()
        await manager.close()
        await app.state.models.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

    app = FastAPI(
        title="hdsynth",
        version=version("hdsynth"),
        summary="Turns label maps into photographs",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.models, app.state.url = models, _url(settings, settings.port)
    app.state.manager, app.state.admin_keys = manager, frozenset(settings.admin_keys)
    app.state.max_upload_bytes = settings.max_upload_bytes
    app.state.cors_origins = settings.cors_origins
    app.state.streams = streams
    lifecycle.on_stop(streams.stop)
    lifecycle.can_serve = lambda: models.ready
    app.state.lifecycle, app.state.tracing = lifecycle, tracing
    app.state.authenticator = Authenticator(settings.api_keys_file)
    app.state.limiter = Limiter(settings.rate_limit, settings.concurrency_limit)
    app.include_router(router)
    app.include_router(admin)
    app.include_router(encoding)
    app.include_router(inference)
    app.include_router(health)
    app.include_router(websocket)
    add_pages(app)
    add_problem_handlers(app)
    describe_openapi(app)
    _add_middleware(app, settings)
    return app


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    # From the inside to the outside: the last one added is the first that a request meets.
    app.add_middleware(EarlyRefusal, models=app.state.models)
    app.add_middleware(
        UploadLimit, max_bytes=settings.max_upload_bytes, timeout_s=settings.request_timeout_s
    )
    app.add_middleware(
        AccessControl, authenticator=app.state.authenticator, limiter=app.state.limiter
    )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=[
                *("Authorization", "X-API-Key", "X-Request-Id", "If-None-Match", "traceparent"),
            ],
            expose_headers=[
                *("X-Request-Id", "X-Model-Version", "X-Cache", "X-Image-Width", "X-Image-Height"),
                *("X-Faithfulness", "Server-Timing", "ETag", "Retry-After"),
            ],
        )
    app.add_middleware(RequestContext, lifecycle=app.state.lifecycle, tracing=app.state.tracing)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests finish.

    Raises OSError if an address cannot be had, what ``create_app`` and ``ModelManager.start``
    raise, and later the error of an engine that has failed for good.
    """
    set_up_logging(settings.log_format, settings.log_level)
    keep_freed_memory()
    # Refusals and probes must not wait for threads that decode: 1 ms is a fifth of the usual.
    sys.setswitchinterval(0.001)
    if settings.engine_cache is not None:  # engine processes inherit it
        os.environ["HDSYNTH_ENGINE_CACHE"] = str(settings.engine_cache)
    failures: list[Exception] = []

    def stop(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(settings, stop)
    server = Server(app, settings, app.state.lifecycle)
    with ExitStack() as sockets:
        listener = sockets.enter_context(_listen(settings.host, settings.port, "port"))
        app.state.url = _url(settings, listener.getsockname()[1])
        metrics = None
        if settings.metrics_port is not None:
            metrics = sockets.enter_context(
                _listen(settings.host, settings.metrics_port, "metrics-port")
            )
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(_serve(app, server, listener, metrics, settings))
    if failures:
        raise failures[0]


async def _serve(
    app: FastAPI,
    server: Server,
    listener: socket.socket,
    metrics: socket.socket | None,
    settings: Settings,
) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, _reload, app)
    async with AsyncExitStack() as beside:
        await beside.enter_async_context(measure_loop_lag())
        if metrics is not None:
            await beside.enter_async_context(serve_metrics(metrics, app.state.lifecycle))
            log.info("metrics at http://%s:%d/metrics", *metrics.getsockname()[:2])
        if settings.grpc_port is not None:
            await _start_grpc(app, settings)
        await server.serve([listener])


def _reload(app: FastAPI) -> None:
    """Read again what may have changed on the disk: API keys and models."""
    app.state.authenticator.reload()
    app.state.manager.reload_changed()


async def _start_grpc(app: FastAPI, settings: Settings) -> None:
    from service.grpc_server import GrpcServer
    from service.grpc_stream import stream_handler

    state = app.state
    server = GrpcServer(
        settings,
        state.models,
        state.lifecycle,
        state.authenticator,
        state.limiter,
        stream=stream_handler(state.streams),
        tracing=state.tracing,
    )
    port = await server.start()
    state.lifecycle.on_stop(lambda: server.stop(settings.shutdown_timeout_s))
    log.info("gRPC at %s:%d", settings.host, port)


def _tracing(endpoint: str | None) -> Tracing | None:
    if endpoint is None:
        return None
    from service.tracing import Tracing

    return Tracing(endpoint)


async def _load_in_background(
    app: FastAPI, manager: ModelManager, on_failure: Callable[[Exception], None] | None
) -> None:
    started = perf_counter()
    try:
        await manager.start()
    except Exception as error:
        if on_failure is None:
            raise
        on_failure(error)
        return
    # Everything that start-up has made stays; to look through all of it for garbage, as full
    # collections do, would stop the event loop for a twentieth of a second.
    gc.collect()
    gc.freeze()
    app.state.lifecycle.start()
    seconds = perf_counter() - started
    for model in app.state.models.all():
        about = model.description
        log.info(
            "%s serves %s %s on %s, ready after %.1f s",
            *(app.state.url, about.name, about.version, about.engine, seconds),
        )


def _listen(host: str, port: int, option: str) -> socket.socket:
    # Bound here rather than by uvicorn, so that the error and a port chosen for 0 can be told.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = str(error.strerror).split(" (")[0]
        raise OSError(
            error.errno,
            f"cannot listen on {host} port {port}: {reason}; give another --host or --{option}",
        ) from error


def _url(settings: Settings, port: int) -> str:
    scheme = "http" if settings.tls_certificate is None else "https"
    host = settings.host
    if host in ("0.0.0.0", "::"):  # noqa: S104, compared, not bound
        host = "localhost"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
