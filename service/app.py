"""The composition root: puts the server together, starts it and stops it."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from time import perf_counter

import uvicorn
from fastapi import FastAPI

from model.bundle import load_bundle
from model.bundled import bundled_model_path
from service import samples
from service.backends import load_engine
from service.middleware import RequestContext, UploadLimit
from service.openapi import describe_openapi
from service.pages import add_pages
from service.pipeline import Pipeline
from service.problem import add_problem_handlers
from service.rest import ServedModel, router
from service.schemas import ModelDescription
from service.settings import Settings
from service.synthesizer import Synthesizer

log = logging.getLogger(__name__)

_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "WARNING", "handlers": ["stderr"]},
    "loggers": {
        "service": {"level": "INFO"},
        # Would print a line for every broken form, which its sender is told anyway.
        "python_multipart": {"level": "ERROR"},
    },
}


def load_model(settings: Settings) -> ServedModel:
    """Load the bundle and its engine and warm it up. Raises what stands in their way."""
    bundle = load_bundle(settings.model or bundled_model_path())
    engine = load_engine(bundle, settings.backend, settings.threads)
    synthesizer = Synthesizer(bundle, engine)
    width, height = settings.warm_size
    synthesizer.warm_up(height, width)
    description = ModelDescription.of(
        bundle,
        settings.backend,
        engine.name,
        settings.max_pixels,
        samples=samples.fits(bundle.classes),
    )
    return ServedModel(Pipeline(synthesizer, settings.max_pixels), description)


def create_app(
    settings: Settings, on_failure: Callable[[Exception], None] | None = None
) -> FastAPI:
    """Build the application; it loads its model in the background once it is started.

    ``on_failure`` is called if that fails; without it the application lives on, never ready.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(_load_in_background(app, settings, on_failure))
        yield
        await loading
        if app.state.model is not None:
            await asyncio.to_thread(app.state.model.pipeline.close)

    app = FastAPI(
        title="hdsynth",
        version=version("hdsynth"),
        summary="Turns label maps into photographs",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.model, app.state.url = None, _url(settings.host, settings.port)
    app.include_router(router)
    add_pages(app)
    add_problem_handlers(app)
    describe_openapi(app)
    app.add_middleware(UploadLimit, max_bytes=settings.max_upload_bytes)
    app.add_middleware(RequestContext)  # the last one added is the outermost
    return app


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests finish.

    Raises OSError if the address cannot be had, and what ``load_model`` raises.
    """
    logging.config.dictConfig(_LOGGING)
    failures: list[Exception] = []

    def stop(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(settings, stop)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=settings.shutdown_timeout_s,
        )
    )
    with _listen(settings.host, settings.port) as listener:
        app.state.url = _url(*listener.getsockname()[:2])
        with suppress(KeyboardInterrupt):  # uvicorn repeats it after its own clean stop
            server.run(sockets=[listener])
    if failures:
        raise failures[0]


async def _load_in_background(
    app: FastAPI, settings: Settings, on_failure: Callable[[Exception], None] | None
) -> None:
    started = perf_counter()
    try:
        model = await asyncio.to_thread(load_model, settings)
    except Exception as error:
        if on_failure is None:
            raise
        on_failure(error)
        return
    app.state.model = model
    about, seconds = model.description, perf_counter() - started
    log.info(
        "%s serves %s %s on %s, ready after %.1f s",
        *(app.state.url, about.name, about.version, about.engine, seconds),
    )


def _listen(host: str, port: int) -> socket.socket:
    # Bound here rather than by uvicorn, so that the error and a port chosen for 0 can be told.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = str(error.strerror).split(" (")[0]
        raise OSError(
            error.errno,
            f"cannot listen on {host} port {port}: {reason}; give another --host or --port",
        ) from error


def _url(host: str, port: int) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104, compared, not bound
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
