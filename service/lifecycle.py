"""Where the process stands between its start and its end, and the probes that tell it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request

from service.errors import ServiceError
from service.openapi import problems


class Lifecycle:
    """Started once, ready while it can serve, draining once it has been told to stop."""

    def __init__(self) -> None:
        self.draining = False
        """Whether the process has been told to stop; it goes on serving for a while."""
        self.can_serve: Callable[[], bool] = lambda: True
        """Asked by the readiness probe once started; False while an engine is being replaced."""
        self._started = False
        self._hooks: list[Callable[[], Awaitable[None]]] = []
        self._stopping: list[asyncio.Future[None]] = []

    def start(self) -> None:
        """Note that every model has been warmed up for the first time."""
        self._started = True

    def on_stop(self, hook: Callable[[], Awaitable[None]]) -> None:
        """Run ``hook`` when the server stops accepting connections, to do likewise and drain.

        It has to end by itself within the time that running requests get.
        """
        self._hooks.append(hook)

    def stop(self) -> None:
        """Run the hooks, all at once, in the background."""
        self._stopping = [asyncio.ensure_future(hook()) for hook in self._hooks]

    async def stopped(self) -> None:
        """Wait until the hooks have ended. Raises what one of them raises."""
        await asyncio.gather(*self._stopping)

    @property
    def ready(self) -> bool:
        """Whether the readiness probe would say so."""
        try:
            self.probe("/readyz")
        except ServiceError:
            return False
        return True

    def probe(self, path: str) -> str:
        """Answer a probe with one word, or raise the ServiceError that says why not."""
        if path == "/livez":
            return "alive"
        if not self._started:
            raise ServiceError("MODEL_LOADING", "the model is being loaded; ask again in a moment")
        if path == "/startupz":
            return "started"
        if self.draining:
            raise ServiceError("DRAINING", "the server is about to stop; ask another one")
        if not self.can_serve():
            raise ServiceError("ENGINE_LOST", "the engine is being started anew")
        return "ready"


PROBES = ("/livez", "/startupz", "/readyz")
router = APIRouter(tags=["health"])


def _probe(request: Request) -> dict[str, str]:
    lifecycle: Lifecycle = request.app.state.lifecycle
    return {"status": lifecycle.probe(request.url.path)}


@router.get("/livez", summary="Whether the server runs")
async def livez(request: Request) -> dict[str, str]:
    """Answer as long as the event loop turns."""
    return _probe(request)


@router.get(
    "/startupz",
    summary="Whether the server has started",
    responses=problems("MODEL_LOADING"),
)
async def startupz(request: Request) -> dict[str, str]:
    """Answer 200 from the moment that every model has been warmed up."""
    return _probe(request)


@router.get(
    "/readyz",
    summary="Whether the server can synthesise",
    responses=problems("MODEL_LOADING", "DRAINING", "ENGINE_LOST"),
)
async def readyz(request: Request) -> dict[str, str]:
    """Answer 200 while requests are welcome: started, engine at work, not about to stop."""
    return _probe(request)
