"""The REST face: translates between HTTP and the pipeline, and decides nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Path, Request
from fastapi.responses import Response

from model.image_io import PHOTO_FORMATS, FormatName
from service import samples
from service.errors import ServiceError
from service.negotiation import choose_format
from service.openapi import PNG, SYNTHESIS_RESPONSES, problems
from service.pipeline import Job, Pipeline
from service.schemas import (
    MAX_OPTIONS_BYTES,
    ModelDescription,
    ModelList,
    SynthesisForm,
)

# The form has three fields; a few more are read so that their names can be told.
FORM_LIMITS: Any = {"max_files": 4, "max_fields": 4, "max_part_size": MAX_OPTIONS_BYTES}


@dataclass(frozen=True)
class ServedModel:
    """What requests use once the model is ready."""

    pipeline: Pipeline
    description: ModelDescription


def served_model(request: Request) -> ServedModel:
    """Return the model. Raises ServiceError MODEL_LOADING until it has been warmed up."""
    model: ServedModel | None = request.app.state.model
    if model is None:
        raise ServiceError("MODEL_LOADING", "the model is being loaded; ask again in a moment")
    return model


def photo_format(request: Request) -> FormatName:
    """Return the format that the client accepts best. Raises ServiceError NOT_ACCEPTABLE."""
    accept = ", ".join(request.headers.getlist("accept"))
    chosen = choose_format(accept)
    if chosen is None:
        known = ", ".join(entry.media_type for entry in PHOTO_FORMATS.values())
        raise ServiceError("NOT_ACCEPTABLE", f"Accept is {accept!r}; photographs come as {known}")
    return chosen


async def require_form(request: Request) -> None:
    """Refuse bodies that are no multipart form, and fields that are there twice."""
    media_type = request.headers.get("content-type", "").split(";")[0].strip()
    if media_type.lower() != "multipart/form-data":
        raise ServiceError(
            "NOT_MULTIPART",
            f"Content-Type is {media_type!r}; send multipart/form-data: curl -F label=@label.png",
        )
    names = [name for name, _ in (await request.form()).multi_items()]
    for name in names:
        if names.count(name) > 1:
            raise ServiceError.at([name], "INVALID_FIELD", f"{name}: is there more than once")


Served = Annotated[ServedModel, Depends(served_model)]
router = APIRouter()


_ROUTE: dict[str, Any] = {
    "tags": ["synthesis"],
    "dependencies": [Depends(require_form)],
    "response_class": Response,
    "responses": SYNTHESIS_RESPONSES,
    "form_limits": FORM_LIMITS,
}


@router.post("/v1/synthesize", summary="Turn a label map into a photograph", **_ROUTE)
@router.post("/synthesize", summary="Short for /v1/synthesize", **_ROUTE)
async def synthesize(
    request: Request,
    form: Annotated[SynthesisForm, Form(media_type="multipart/form-data")],
    format_: Annotated[FormatName, Depends(photo_format)],
    model: Served,
) -> Response:
    """Synthesise the photograph of a scene in the format that `Accept` asks for (default PNG)."""
    job = Job(
        label=await form.label.read(),
        instance=await form.instance.read() if form.instance else None,
        choice=form.options.choice(model.pipeline.bundle.classes),
        format=format_,
        quality=form.options.quality,
    )
    photo = await model.pipeline.synthesize(job, request.state.stage_times)
    headers = {"X-Model-Version": model.description.version, "Vary": "Accept"}
    return Response(photo, media_type=PHOTO_FORMATS[format_].media_type, headers=headers)


@router.get(
    "/v1/models",
    tags=["synthesis"],
    summary="Describe the models being served",
    responses=problems("MODEL_LOADING"),
)
async def models(model: Served) -> ModelList:
    """Tell what label maps may hold, which styles there are and which sizes are served."""
    return ModelList(models=[model.description])


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


@router.get("/livez", tags=["health"], summary="Whether the server runs")
async def livez() -> dict[str, str]:
    """Answer as long as the event loop turns."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    tags=["health"],
    summary="Whether the server can synthesise",
    responses=problems("MODEL_LOADING"),
)
async def readyz(_: Served) -> dict[str, str]:
    """Answer 200 from the moment that the model has been warmed up."""
    return {"status": "ready"}
