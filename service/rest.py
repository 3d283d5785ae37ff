"""The REST face: translates between HTTP and the pipeline, and decides nothing itself."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response

from service import samples
from service.disconnect import run_until_disconnect
from service.errors import ServiceError
from service.forms import read_form
from service.jobs import Job, MapData, OutputFormat, Photo
from service.judge import HEADER, told
from service.negotiation import MEDIA_TYPES, choose_format
from service.openapi import PNG, SYNTHESIS_RESPONSES, form_body, problems
from service.schemas import (
    ModelDescription,
    ModelList,
    RawPlane,
    SynthesisForm,
)
from service.served import Models, ServedModel

SMALL = 1 << 18
"""Bytes that are hashed sooner than another thread is woken."""


def served_models(request: Request) -> Models:
    """Return the models being served."""
    models: Models = request.app.state.models
    return models


@contextmanager
def requested_model(request: Request) -> Iterator[ServedModel]:
    """Have the model that the address names, or the default one, until the end of the block.

    Raises ServiceError MODEL_LOADING or MODEL_NOT_FOUND.
    """
    named = request.path_params.get("model", ""), request.path_params.get("version", "")
    with served_models(request).use(*named) as model:
        request.state.model = model.description.name  # for the metrics and the log
        yield model


async def served_model(request: Request) -> AsyncIterator[ServedModel]:
    """Have the requested model as a route's argument: see ``requested_model``."""
    with requested_model(request) as model:
        yield model


def photo_format(request: Request) -> OutputFormat:
    """Return the format that the client accepts best. Raises ServiceError NOT_ACCEPTABLE."""
    accept = ", ".join(request.headers.getlist("accept"))
    chosen = choose_format(accept)
    if chosen is None:
        known = ", ".join(MEDIA_TYPES.values())
        raise ServiceError("NOT_ACCEPTABLE", f"Accept is {accept!r}; photographs come as {known}")
    return chosen


Served = Annotated[ServedModel, Depends(served_model)]
ModelName = Annotated[str, Path(alias="model", description="name of a model, as in `/v1/models`")]
router = APIRouter()

_ROUTE: dict[str, Any] = {
    "tags": ["synthesis"],
    "response_class": Response,
    "openapi_extra": form_body(SynthesisForm),
}


@router.post(
    "/v1/synthesize",
    summary="Turn a label map into a photograph",
    responses=SYNTHESIS_RESPONSES,
    **_ROUTE,
)
@router.post(
    "/synthesize", summary="Short for /v1/synthesize", responses=SYNTHESIS_RESPONSES, **_ROUTE
)
async def synthesize(request: Request) -> Response:
    """Synthesise the photograph of a scene in the format that `Accept` asks for (default PNG)."""
    # Nothing of this stands in the signature: the framework would take longer over it than we.
    with requested_model(request) as model:
        job = _job(await read_form(request, SynthesisForm), photo_format(request), model)
        times = request.state.stage_times
        answer = await run_until_disconnect(request, model.synthesize(job, times))
        etag = await _etag(model, answer.photo)
    headers = {
        "ETag": etag,
        "Vary": "Accept",
        "X-Cache": "hit" if answer.cached else "miss",
        "X-Model-Version": model.description.version,
    }
    if answer.photo.faithfulness is not None:
        headers[HEADER] = told(answer.photo.faithfulness)
    if _known_to_client(request, etag):
        return Response(None, 304, headers)
    if job.format == "raw":
        headers["X-Image-Width"] = str(answer.photo.width)
        headers["X-Image-Height"] = str(answer.photo.height)
    return Response(answer.photo.data, headers=headers, media_type=MEDIA_TYPES[job.format])


@router.post("/v1/models/{model}/versions/{version}:synthesize", include_in_schema=False, **_ROUTE)
@router.post(
    "/v1/models/{model}:synthesize",
    summary="Turn a label map into a photograph with one of several models",
    responses={**SYNTHESIS_RESPONSES, **problems("MODEL_NOT_FOUND")},
    **_ROUTE,
)
async def synthesize_with_model(request: Request, _model: ModelName) -> Response:
    """Synthesise as `/v1/synthesize` does, which uses the default model."""
    return await synthesize(request)


def _job(form: SynthesisForm, format_: OutputFormat, model: ServedModel) -> Job:
    options = form.options
    deadline_ms = options.deadline_ms
    return Job(
        label=_map(form.label, options.label),
        instance=None if form.instance is None else _map(form.instance, options.instance),
        choice=options.choice(model.pipeline.bundle.classes),
        style_photo=form.style_photo,
        format=format_,
        quality=options.quality,
        min_faithfulness=options.min_faithfulness,
        deadline=None if deadline_ms is None else time.monotonic() + deadline_ms / 1000,
    )


def _map(data: bytes, plane: RawPlane | None) -> MapData:
    if plane is None:
        return MapData(data)
    return MapData(data, plane.encoding, plane.element_type, plane.width, plane.height)


async def _etag(model: ServedModel, photo: Photo) -> str:
    """Name the photograph by its content."""
    if len(photo.data) < SMALL:
        return _hash(photo.data)
    return await model.pipeline.on_codec_pool(_hash, photo.data)


def _hash(data: bytes) -> str:
    return f'"{hashlib.blake2b(data, digest_size=16).hexdigest()}"'


def _known_to_client(request: Request, etag: str) -> bool:
    given = ",".join(request.headers.getlist("if-none-match"))
    # Weak comparison (RFC 9110, section 13.1.2).
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    return etag in tags


@router.get(
    "/v1/models",
    tags=["synthesis"],
    summary="Describe the models being served",
    responses=problems("MODEL_LOADING"),
)
async def models(served: Annotated[Models, Depends(served_models)]) -> ModelList:
    """Tell what label maps may hold, which styles there are and which sizes are served."""
    return ModelList(models=[model.description for model in served.all()], status=served.status())


@router.get(
    "/v1/models/{model}",
    tags=["synthesis"],
    summary="Describe one model",
    responses=problems("MODEL_LOADING", "MODEL_NOT_FOUND"),
)
async def model_description(_model: ModelName, model: Served) -> ModelDescription:
    """Tell what its label maps may hold, which styles there are and which sizes are served."""
    return model.description


@router.get(
    "/v1/samples/{seed}/{part}.png",
    tags=["synthesis"],
    summary="Draw a map of a sample scene",
    response_class=Response,
    responses={200: PNG, **problems("INVALID_FIELD", "NO_SAMPLES", "MODEL_LOADING")},
)
async def sample(
    seed: Annotated[int, Path(ge=0, le=2**31 - 1, description="chooses the scene")],
    part: Literal["label", "instance"],
    model: Served,
) -> Response:
    """Draw the label map or the instance map of a street scene, ready for `/v1/synthesize`."""
    if not model.description.samples:
        raise ServiceError(
            "NO_SAMPLES", "sample scenes show street facades, whose classes this model has not"
        )
    maps = await model.pipeline.on_codec_pool(samples.sample_maps, seed)
    return Response(maps[part], media_type="image/png")
