"""The gRPC face of the Open Inference Protocol v2: translates, and decides nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from hdsynth.oip.v2 import inference_pb2 as pb

from service.errors import ServiceError
from service.grpc_api import deadline_of
from service.grpc_calls import current_call
from service.oip import (
    EXTENSIONS,
    INPUTS,
    OUTPUTS,
    PLATFORM,
    InferRequest,
    Parameter,
    Tensor,
    TensorDescription,
    invalid,
    pack_bytes,
    run_jobs,
    unpack_bytes,
)
from service.oip_jobs import jobs_of
from service.served import Models

if TYPE_CHECKING:
    from service.grpc_calls import Context

SERVICE = "inference.GRPCInferenceService"

# Where elements travel that are not raw, and as what.
_CONTENTS: dict[str, tuple[str, np.dtype[Any]]] = {
    "UINT8": ("uint_contents", np.dtype("u1")),
    "UINT16": ("uint_contents", np.dtype("<u2")),
    "INT32": ("int_contents", np.dtype("<i4")),
    "INT64": ("int64_contents", np.dtype("<i8")),
}


def inference_handlers(models: Models) -> grpc.GenericRpcHandler[Any, Any]:
    """Return the service under the name that the protocol's clients call."""
    api = InferenceApi(models)
    calls: dict[str, tuple[Any, Any]] = {
        "ServerLive": (api.server_live, pb.ServerLiveRequest),
        "ServerReady": (api.server_ready, pb.ServerReadyRequest),
        "ModelReady": (api.model_ready, pb.ModelReadyRequest),
        "ServerMetadata": (api.server_metadata, pb.ServerMetadataRequest),
        "ModelMetadata": (api.model_metadata, pb.ModelMetadataRequest),
        "ModelInfer": (api.model_infer, pb.ModelInferRequest),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=message.FromString,
            response_serializer=lambda reply: bytes(reply.SerializeToString()),
        )
        for name, (call, message) in calls.items()
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


class InferenceApi:
    """The calls of the protocol; every one may raise ServiceError."""

    def __init__(self, models: Models) -> None:
        self._models = models

    async def server_live(self, _request: Any, _context: Context) -> pb.ServerLiveResponse:
        """Answer as long as the event loop turns."""
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, _request: Any, _context: Context) -> pb.ServerReadyResponse:
        """Tell whether a model is served."""
        return pb.ServerReadyResponse(ready=self._ready())

    async def model_ready(
        self, request: pb.ModelReadyRequest, _context: Context
    ) -> pb.ModelReadyResponse:
        """Tell whether a model is served."""
        return pb.ModelReadyResponse(ready=self._ready(request.name, request.version))

    async def server_metadata(self, _request: Any, _context: Context) -> pb.ServerMetadataResponse:
        """Describe the server."""
        return pb.ServerMetadataResponse(
            name="hdsynth", version=version("hdsynth"), extensions=EXTENSIONS
        )

    async def model_metadata(
        self, request: pb.ModelMetadataRequest, _context: Context
    ) -> pb.ModelMetadataResponse:
        """Describe a model's tensors."""
        model = self._models.get(request.name, request.version).description
        return pb.ModelMetadataResponse(
            name=model.name,
            versions=[model.version],
            platform=PLATFORM,
            inputs=_described(INPUTS),
            outputs=_described(OUTPUTS),
        )

    async def model_infer(
        self, request: pb.ModelInferRequest, context: Context
    ) -> pb.ModelInferResponse:
        """Synthesise a batch before the call's deadline."""
        with self._models.use(request.model_name, request.model_version) as model:
            about, call = model.description, current_call()
            call.model, call.model_version = about.name, about.version
            deadline = deadline_of(context)
            given = await model.pipeline.on_codec_pool(_request, request)
            jobs = jobs_of(given, model.pipeline.bundle.classes, deadline)
            image = await run_jobs(model.pipeline, jobs, call.times)
        reply = pb.ModelInferResponse(
            model_name=about.name,
            model_version=about.version,
            id=request.id,
            raw_output_contents=[pack_bytes(image.items) if image.items else image.data],
        )
        reply.outputs.add(name=image.name, datatype=image.datatype, shape=image.shape)
        return reply

    def _ready(self, name: str = "", version_: str = "") -> bool:
        try:
            self._models.get(name, version_)
        except ServiceError as error:
            if error.reason != "MODEL_LOADING":
                raise
            return False
        return True


def _described(
    tensors: Iterable[TensorDescription],
) -> list[pb.ModelMetadataResponse.TensorMetadata]:
    return [
        pb.ModelMetadataResponse.TensorMetadata(name=t.name, datatype=t.datatype, shape=t.shape)
        for t in tensors
    ]


def _request(request: pb.ModelInferRequest) -> InferRequest:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise invalid(
            "raw_input_contents", f"has {len(raw)} elements for {len(request.inputs)} inputs"
        )
    tensors = [
        _raw_tensor(given, data) for given, data in zip(request.inputs, raw, strict=False)
    ] or [_typed_tensor(given) for given in request.inputs]
    givens: list[Any] = [*request.inputs, *request.outputs]
    for given in givens:
        if given.parameters:
            name = next(iter(given.parameters))
            raise invalid(given.name[:100], f"takes no parameters, such as {name[:100]!r}")
    outputs = [output.name for output in request.outputs]
    return InferRequest(tensors, _parameters(request.parameters), outputs)


def _raw_tensor(given: pb.ModelInferRequest.InferInputTensor, data: bytes) -> Tensor:
    shape = tuple(given.shape)
    if given.datatype == "BYTES":
        return Tensor(given.name, "BYTES", shape, items=unpack_bytes(data, given.name[:100]))
    return Tensor(given.name, given.datatype, shape, data)


def _typed_tensor(given: pb.ModelInferRequest.InferInputTensor) -> Tensor:
    shape = tuple(given.shape)
    if given.datatype == "BYTES":
        return Tensor(given.name, "BYTES", shape, items=tuple(given.contents.bytes_contents))
    if given.datatype not in _CONTENTS:
        return Tensor(given.name, given.datatype, shape)
    field, dtype = _CONTENTS[given.datatype]
    values = np.array(getattr(given.contents, field), np.int64)
    limits = np.iinfo(dtype)
    if values.size and not limits.min <= values.min() <= values.max() <= limits.max:
        raise invalid(given.name[:100], f"has elements that {given.datatype} cannot hold")
    return Tensor(given.name, given.datatype, shape, values.astype(dtype).tobytes())


def _parameters(given: Mapping[str, pb.InferParameter]) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    for name, value in given.items():
        kind = value.WhichOneof("parameter_choice")
        if kind is None:
            raise invalid(name[:100], "has no value")
        parameters[name] = getattr(value, kind)
    return parameters
