"""The model behind BentoML: a batching service, and a front that reads and writes the files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import bentoml  # type: ignore[import-not-found]
import numpy as np
import work  # type: ignore[import-not-found]
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ATTEMPTS = 4
QUIET = {"access": {"enabled": False}}


@bentoml.service(workers=1, traffic={"timeout": 30}, logging=QUIET)
class Runner:
    """Runs batches."""

    def __init__(self) -> None:
        self.model = work.Model()

    @bentoml.api(batchable=True, max_batch_size=work.MAX_BATCH, max_latency_ms=30_000)  # type: ignore[untyped-decorator]
    def predict(self, maps: np.ndarray) -> np.ndarray:
        """Turn maps (N, 2, H, W) into photographs (N, H, W, 3)."""
        photos: np.ndarray = self.model.run(np.asarray(maps))
        return photos


async def _predict(request: Request, maps: Any) -> Any:
    """Run one scene.

    BentoML's own client between the two services loses a few per cent of its connections ("Server
    disconnected"), which its users get as a 500. Asking again tells what the rest of it can do.
    """
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(aiohttp.ClientConnectionError):
            return await request.app.state.runner.predict(maps)
    return await request.app.state.runner.predict(maps)


async def _synthesize(request: Request) -> Response:
    form = await request.form()
    files = [await form[name].read() for name in ("label", "instance")]  # type: ignore[union-attr]
    maps = await asyncio.to_thread(work.decode, *files)
    photos = await _predict(request, maps[None])
    photo = await asyncio.to_thread(work.encode, np.asarray(photos)[0])
    return Response(photo, media_type="image/jpeg")


app = Starlette(routes=[Route("/v1/synthesize", _synthesize, methods=["POST"])])


@bentoml.service(workers=1, traffic={"timeout": 30}, logging=QUIET)
@bentoml.asgi_app(app)
class Front:
    """Label and instance map in, JPEG out."""

    runner = bentoml.depends(Runner)

    def __init__(self) -> None:
        app.state.runner = self.runner.to_async


if __name__ == "__main__":
    program = Path(sys.executable).with_name("bentoml")
    os.chdir(Path(__file__).parent)
    arguments = ["serve", "bentoml_server:Front", "--host", "127.0.0.1", "--port", str(work.PORT)]
    os.execv(program, [str(program), *arguments])  # noqa: S606, it takes this process's place
