"""The REST face of the style encoder: a photograph in, the styles of its objects out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from service.disconnect import run_until_disconnect
from service.errors import REASONS
from service.forms import read_form
from service.jobs import Job, MapData
from service.openapi import OUTSIDE_SYNTHESIS, form_body, problems
from service.rest import ModelName, requested_model
from service.schemas import EncodedStyles, EncodeForm

router = APIRouter(tags=["synthesis"])
_ROUTE: dict[str, Any] = {
    "openapi_extra": form_body(EncodeForm),
    "responses": problems(
        "MODEL_NOT_FOUND", *(reason for reason in REASONS if reason not in OUTSIDE_SYNTHESIS)
    ),
}


@router.post("/v1/encode", summary="Take styles from a photograph", **_ROUTE)
async def encode(request: Request) -> EncodedStyles:
    """Return what the model's style encoder sees in every object of a photograph."""
    with requested_model(request) as model:
        form = await read_form(request, EncodeForm)
        instance = None if form.instance is None else MapData(form.instance)
        job = Job(MapData(form.label), instance, format="raw")
        work = model.pipeline.encode_styles(job, form.photo, request.state.stage_times)
        found = await run_until_disconnect(request, work)
    return EncodedStyles(
        styles=found.instances,
        class_styles=found.classes,
        model_version=model.description.version,
    )


@router.post(
    "/v1/models/{model}:encode",
    summary="Take styles from a photograph with one of several models",
    **_ROUTE,
)
async def encode_with_model(request: Request, _model: ModelName) -> EncodedStyles:
    """Encode as `/v1/encode` does, which uses the default model."""
    return await encode(request)
