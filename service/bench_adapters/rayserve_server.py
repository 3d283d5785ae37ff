"""The model behind Ray Serve: one replica with ``serve.batch``, which also reads and writes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import ray
import work  # type: ignore[import-not-found]
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(max_ongoing_requests=1000)
class Synthesize:
    """Label and instance map in, JPEG out."""

    def __init__(self) -> None:
        self.model = work.Model()

    @serve.batch(max_batch_size=work.MAX_BATCH, batch_wait_timeout_s=0.0)
    async def run(self, maps: list[Any]) -> list[Any]:
        """Run a batch in a thread, so that the replica goes on reading."""
        return list(await asyncio.to_thread(self.model.run, np.stack(maps)))

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        form = await request.form()
        files = [await form[name].read() for name in ("label", "instance")]  # type: ignore[union-attr]
        maps = await asyncio.to_thread(work.decode, *files)
        photo = await asyncio.to_thread(work.encode, await self.run(maps))
        return Response(photo, media_type="image/jpeg")


if __name__ == "__main__":
    # Not one that runs here already, for somebody else.
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": work.PORT})
    application: Any = Synthesize
    serve.run(application.bind(), route_prefix="/v1/synthesize")
    while True:
        time.sleep(3600)
