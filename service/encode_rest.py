"""The REST face of the style encoder: a photograph in, the styles of its objects out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, UploadFile
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from service.disconnect import run_until_disconnect
from service.errors import REASONS
from service.jobs import Job, MapData
from service.openapi import OUTSIDE_SYNTHESIS, problems
from service.rest import FORM_LIMITS, ModelName, Served, require_form


class EncodeForm(BaseModel):
    """The multipart form of a photograph. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    photo: UploadFile = Field(description="photograph: JPEG, PNG or WebP")
    label: UploadFile = Field(
        description="its label map, of the same size, as for `/v1/synthesize`"
    )
    instance: UploadFile | SkipJsonSchema[None] = Field(
        default=None,
        description="its instance map; without it connected regions of one class are objects",
    )


class EncodedStyles(BaseModel):
    """The styles of a photograph's objects, as the options of `/v1/synthesize` take them."""

    styles: dict[int, list[float]] = Field(description="instance id -> code")
    class_styles: dict[str, list[float]] = Field(
        description="class name -> mean code of its objects, for scenes with other objects"
    )
    model_version: str


router = APIRouter(tags=["synthesis"])
_ROUTE: dict[str, Any] = {
    "dependencies": [Depends(require_form)],
    "form_limits": FORM_LIMITS,
    "responses": problems(
        "MODEL_NOT_FOUND", *(reason for reason in REASONS if reason not in OUTSIDE_SYNTHESIS)
    ),
}
PhotoForm = Annotated[EncodeForm, Form(media_type="multipart/form-data")]


@router.post("/v1/encode", summary="Take styles from a photograph", **_ROUTE)
async def encode(request: Request, form: PhotoForm, model: Served) -> EncodedStyles:
    """Return what the model's style encoder sees in every object of a photograph."""
    job = Job(
        label=MapData(await form.label.read()),
        instance=MapData(await form.instance.read()) if form.instance else None,
        format="raw",
    )
    photo = await form.photo.read()
    work = model.pipeline.encode_styles(job, photo, request.state.stage_times)
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
async def encode_with_model(
    request: Request, _model: ModelName, form: PhotoForm, model: Served
) -> EncodedStyles:
    """Encode as `/v1/encode` does, which uses the default model."""
    return await encode(request, form, model)
