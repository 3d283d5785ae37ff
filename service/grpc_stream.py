"""Streams over gRPC."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from service.grpc_calls import current_call
from service.schemas import ModelDescription

if TYPE_CHECKING:
    from service.grpc_api import Requests, Responses, StreamHandler
    from service.grpc_calls import Context
    from service.stream import Streams


def stream_handler(streams: Streams) -> StreamHandler:
    """Return what serves ``SynthesizeStream``."""

    async def serve(requests: Requests, _context: Context) -> Responses:
        async with aclosing(streams.serve(requests, "grpc", _note_model)) as responses:
            async for response in responses:
                yield response

    return serve


def _note_model(model: ModelDescription) -> None:
    call = current_call()
    call.model, call.model_version = model.name, model.version
