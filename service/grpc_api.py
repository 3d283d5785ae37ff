"""The gRPC face: translates between messages and the pipeline, and decides nothing itself.

`service.grpc_calls` surrounds every method here: ids, keys, errors, metrics. A cancelled call
cancels the coroutine of its method, and with it the work in the queue.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from hdsynth.v1 import synthesis_pb2 as pb
from hdsynth.v1 import synthesis_pb2_grpc

from service.errors import ServiceError
from service.grpc_calls import current_call
from service.grpc_messages import job_of, model_message, photo_message, stage_seconds
from service.served import Models, ServedModel

if TYPE_CHECKING:
    from service.grpc_calls import Context

Requests = AsyncIterator[pb.SynthesizeStreamRequest]
Responses = AsyncIterator[pb.SynthesizeStreamResponse]
StreamHandler = Callable[[Requests, "Context"], Responses]
"""Serves one stream; an asynchronous generator."""


class SynthesisApi(synthesis_pb2_grpc.SynthesisServiceServicer):
    """The calls of ``hdsynth.v1.SynthesisService``; every one may raise ServiceError."""

    def __init__(self, models: Models, stream: StreamHandler | None = None) -> None:
        self._models, self._stream = models, stream

    async def Synthesize(  # noqa: N802, the message's name
        self, request: pb.SynthesizeRequest, context: Context
    ) -> pb.SynthesizeResponse:
        """Turn one label map into a photograph before the call's deadline."""
        with self._models.use(request.model) as model:
            _note(model)
            job = job_of(request, model.pipeline.bundle.classes, deadline_of(context))
            times = current_call().times
            answer = await model.synthesize(job, times)
        return pb.SynthesizeResponse(
            photo=photo_message(answer.photo),
            model_version=model.description.version,
            seconds=stage_seconds(times),
            faithfulness=answer.photo.faithfulness,
        )

    async def SynthesizeStream(  # noqa: N802, the message's name
        self, request_iterator: Requests, context: Context
    ) -> Responses:
        """Turn a stream of frames into a stream of photographs."""
        if self._stream is None:
            raise ServiceError("METHOD_NOT_ALLOWED", "this server takes no streams")
        async for response in self._stream(request_iterator, context):
            yield response

    async def GetModel(  # noqa: N802, the message's name
        self, request: pb.GetModelRequest, _context: Context
    ) -> pb.GetModelResponse:
        """Describe one model."""
        model = self._models.get(request.model)
        _note(model)
        return pb.GetModelResponse(model=model_message(model.description))

    async def ListModels(  # noqa: N802, the message's name
        self, _request: pb.ListModelsRequest, _context: Context
    ) -> pb.ListModelsResponse:
        """Describe all models, the default first."""
        models = (model_message(model.description) for model in self._models.all())
        return pb.ListModelsResponse(models=models)


def _note(model: ServedModel) -> None:
    """Name the model for the metrics, the log and the answer's metadata."""
    call = current_call()
    call.model, call.model_version = model.description.name, model.description.version


def deadline_of(context: Context) -> float | None:
    """Return the call's deadline in ``time.monotonic()``, None if it has none."""
    remaining: float | None = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining
