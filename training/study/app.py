"""The study's web server: a page that asks, and an interface that stores the answers."""

from __future__ import annotations

import dataclasses
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from PIL import Image
from pydantic import BaseModel, Field

from training.study.report import as_markdown, summarise
from training.study.trials import DAMAGED, Study, Trial
from training.study.votes import Votes

_STATIC = Path(__file__).parent / "static"
_BLOCKS = 24
"""A damaged picture is reduced to this many blocks across: nobody who looks can prefer it."""
# Scripts, styles and pictures come from this server alone, and none of them inline.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Answer(BaseModel):
    """What a rater chose."""

    trial: int
    choice: Literal["left", "right"]
    response_ms: int = Field(ge=0, le=3_600_000)


@dataclass(frozen=True)
class Host:
    """What the server knows while it runs."""

    study: Study
    votes: Votes
    votes_per_rater: int
    key: str
    """Opens the report, which raters must not see."""


def create_app(study: Study, votes: Votes, votes_per_rater: int, key: str) -> FastAPI:
    """Build the application; ``key`` opens the report."""
    app = FastAPI(title="hdsynth study", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.host = Host(study, votes, votes_per_rater, key)
    app.mount("/static", StaticFiles(directory=_STATIC), "static")
    app.include_router(router)

    @app.middleware("http")
    async def protect(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    return app


def _host(request: Request) -> Host:
    host: Host = request.app.state.host
    return host


def _organiser(host: Annotated[Host, Depends(_host)], key: str = "") -> Host:
    if not secrets.compare_digest(key.encode(), host.key.encode()):
        raise HTTPException(403, "this needs the key that 'hdsynth study' printed")
    return host


def _asked(trial_id: int, host: Annotated[Host, Depends(_host)]) -> Trial:
    try:
        return host.votes.trial(trial_id)
    except KeyError as error:
        raise HTTPException(404, "unknown question") from error


ForAnyone = Annotated[Host, Depends(_host)]
ForOrganiser = Annotated[Host, Depends(_organiser)]
router = APIRouter()


@router.get("/")
def page() -> FileResponse:
    """Send the page that raters see."""
    return FileResponse(_STATIC / "index.html")


@router.post("/api/raters", status_code=201)
def consent(host: ForAnyone) -> dict[str, Any]:
    """Register a rater who has consented."""
    return {"rater": host.votes.add_rater(), "votes": host.votes_per_rater}


@router.get("/api/trial")
def next_trial(rater: str, host: ForAnyone) -> dict[str, Any]:
    """Ask a rater's next question, or say that there are no more."""
    try:
        seed, number = host.votes.seed(rater), host.votes.answered(rater)
    except KeyError as error:
        raise HTTPException(404, "unknown rater; load the page again") from error
    if number >= host.votes_per_rater:
        return {"done": True, "number": number}
    trial = host.study.draw(random.Random(f"{seed}/{number}"), number)  # noqa: S311, no secret
    return {
        "done": False,
        "number": number,
        "trial": host.votes.ask(rater, number, trial),
        "exposure_s": trial.exposure_s,
        "label": trial.picture in host.study.labels,
    }


@router.get("/api/picture/{trial_id}/label")
def label_map(trial: Annotated[Trial, Depends(_asked)], host: ForAnyone) -> FileResponse:
    """Send the label map of a question's scene."""
    if trial.picture not in host.study.labels:
        raise HTTPException(404, "there is no label map for this scene")
    return FileResponse(host.study.labels[trial.picture])


@router.get("/api/picture/{trial_id}/{side}")
def picture(
    side: Literal["left", "right"], trial: Annotated[Trial, Depends(_asked)], host: ForAnyone
) -> Response:
    """Send one of a question's pictures."""
    damaged = (trial.left if side == "left" else trial.right) == DAMAGED
    # Decoded and encoded anew: a file's name, date or format must not give a system away.
    return Response(_as_png(host.study.file(trial, side), damaged), media_type="image/png")


@router.post("/api/votes", status_code=201)
def vote(answer: Answer, host: ForAnyone) -> dict[str, bool]:
    """Store an answer."""
    if not host.votes.cast(answer.trial, answer.choice, answer.response_ms):
        raise HTTPException(409, "this question is unknown or has been answered already")
    return {"stored": True}


@router.get("/report")
def report(host: ForOrganiser, accept: Annotated[str, Header()] = "") -> Response:
    """Send the report of the votes so far, as text or as JSON."""
    found = summarise(host.votes.all())
    if "json" in accept:
        return JSONResponse(dataclasses.asdict(found))
    return PlainTextResponse(as_markdown(found))


@router.get("/votes.csv")
def table(host: ForOrganiser) -> Response:
    """Send all votes as a table."""
    return Response(host.votes.as_csv(), media_type="text/csv")


def _as_png(path: Path, damaged: bool) -> bytes:
    with Image.open(path) as file:
        image = file.convert("RGB")
    if damaged:
        rows = max(2, _BLOCKS * image.height // image.width)
        image = image.resize((_BLOCKS, rows)).resize(image.size, Image.Resampling.NEAREST)
    stream = BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()
