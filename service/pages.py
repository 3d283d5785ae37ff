"""The pages: ``/``, the studio at ``/studio``, the documentation at ``/docs``; all from here.

Swagger UI comes with the package fastapi-offline, so that no browser has to reach a CDN. Our own
few lines start it, because the usual ones are an inline script, which our policy forbids.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

_STATIC = Path(__file__).parent / "static"


def add_pages(app: FastAPI) -> None:
    """Serve the pages and what they load."""
    swagger_ui = str(files("fastapi_offline") / "static")
    app.mount("/static", StaticFiles(directory=_STATIC), "static")
    app.mount("/docs/swagger-ui", StaticFiles(directory=swagger_ui), "swagger-ui")

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(_STATIC / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(_STATIC / "docs.html")

    @app.get("/studio", include_in_schema=False)
    async def studio() -> FileResponse:
        return FileResponse(_STATIC / "studio" / "index.html")
