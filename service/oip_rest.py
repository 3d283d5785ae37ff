"""The REST face of the Open Inference Protocol v2: translates, and decides nothing itself."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from service.disconnect import run_until_disconnect
from service.oip import EXTENSIONS, INPUTS, OUTPUTS, PLATFORM, run_jobs
from service.oip_jobs import jobs_of
from service.oip_json import HEADER_LENGTH, read_request, write_response
from service.oip_schemas import ModelMetadata, ModelReady, ServerMetadata, TensorMetadata
from service.openapi import INFERENCE_BODY, INFERENCE_RESPONSES, problems
from service.rest import ModelName, Served

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])
_MODEL_PROBLEMS = problems("MODEL_LOADING", "MODEL_NOT_FOUND", schema="InferenceProblem")
# Versions in the address are a second spelling of the same.
_AGAIN: Any = {"include_in_schema": False}


@router.get("", summary="Describe the server")
async def server_metadata() -> ServerMetadata:
    """Tell name, version and extensions."""
    return ServerMetadata(name="hdsynth", version=version("hdsynth"), extensions=[*EXTENSIONS])


@router.get("/health/live", summary="Whether the server runs")
async def live(request: Request) -> dict[str, bool]:
    """Answer as long as the event loop turns."""
    request.app.state.lifecycle.probe("/livez")
    return {"live": True}


@router.get(
    "/health/ready",
    summary="Whether the server can synthesise",
    responses=problems("MODEL_LOADING", "DRAINING", "ENGINE_LOST", schema="InferenceProblem"),
)
async def ready(request: Request) -> dict[str, bool]:
    """Answer 200 while requests are welcome."""
    request.app.state.lifecycle.probe("/readyz")
    return {"ready": True}


@router.get("/models/{model}/versions/{version}", **_AGAIN)
@router.get("/models/{model}", summary="Describe a model's tensors", responses=_MODEL_PROBLEMS)
async def model_metadata(_model: ModelName, model: Served) -> ModelMetadata:
    """Tell the names, datatypes and shapes of what goes in and comes out."""
    return ModelMetadata(
        name=model.description.name,
        versions=[model.description.version],
        platform=PLATFORM,
        inputs=[TensorMetadata.of(tensor) for tensor in INPUTS],
        outputs=[TensorMetadata.of(tensor) for tensor in OUTPUTS],
    )


@router.get("/models/{model}/versions/{version}/ready", **_AGAIN)
@router.get("/models/{model}/ready", summary="Whether a model is served", responses=_MODEL_PROBLEMS)
async def model_ready(_model: ModelName, model: Served) -> ModelReady:
    """Answer 200 if it is."""
    return ModelReady(name=model.description.name, ready=True)


@router.post("/models/{model}/versions/{version}/infer", **_AGAIN)
@router.post(
    "/models/{model}/infer",
    summary="Turn a batch of label maps into photographs",
    response_class=Response,
    responses=INFERENCE_RESPONSES,
    openapi_extra=INFERENCE_BODY,
)
async def infer(_model: ModelName, request: Request, model: Served) -> Response:
    """Synthesise a batch; tensors travel as JSON or as bytes behind it."""
    body = await request.body()
    pipeline, about = model.pipeline, model.description
    header = request.headers
    given, form = await pipeline.on_codec_pool(
        read_request,
        body,
        header.get("content-encoding", ""),
        header.get(HEADER_LENGTH),
        request.app.state.max_upload_bytes,
    )
    jobs = jobs_of(given, pipeline.bundle.classes, None)
    work = run_jobs(pipeline, jobs, request.state.stage_times)
    image = await run_until_disconnect(request, work)
    answer = await pipeline.on_codec_pool(write_response, image, form, about.name, about.version)
    return Response(answer.body, headers=answer.headers, media_type=answer.media_type)
