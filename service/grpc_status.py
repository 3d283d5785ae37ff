"""Errors over gRPC: a status with details (google.rpc) for everything that goes wrong."""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import (  # type: ignore[import-untyped]
    code_pb2,
    error_details_pb2,
    status_pb2,
)
from grpc_status import rpc_status

from service.errors import ServiceError

DOMAIN = "hdsynth"
"""Of every reason: ErrorInfo is unique as a pair of domain and reason."""

# Details travel in HTTP/2 trailers, of which clients take no more than 8 KiB in all; base64 adds a
# third, and the message travels twice, percent-encoded the second time.
MAX_MESSAGE = 1000
MAX_FIELD_ERRORS = 8
MAX_FIELD_TEXT = 150

_STATUS_CODES = {code.name: code for code in grpc.StatusCode}


def status_code(error: ServiceError) -> grpc.StatusCode:
    """Return the canonical code of an error's reason."""
    return _STATUS_CODES[error.row.grpc]


def rich_status(error: ServiceError, request_id: str) -> grpc.Status:
    """Tell an error as a status whose trailers hold google.rpc details.

    ErrorInfo has the reason as in REST, RequestInfo the id under which the server logged the call,
    BadRequest the fields at fault, RetryInfo when to come back.
    """
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN),
        error_details_pb2.RequestInfo(request_id=request_id),
    ]
    if error.errors:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(
                field=_field(fault.pointer), description=_cut(fault.detail, MAX_FIELD_TEXT)
            )
            for fault in error.errors[:MAX_FIELD_ERRORS]
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if error.retry_after_s is not None:
        delay = Duration(nanos=0)
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(
        code=code_pb2.Code.Value(error.row.grpc),
        message=_cut(error.detail, MAX_MESSAGE),
        details=[_packed(detail) for detail in details],
    )
    return rpc_status.to_status(status)


def _field(pointer: str) -> str:
    """Turn ``#/options/seed`` into ``styles.seed``, as the message calls it."""
    path = pointer.removeprefix("#/").split("/")
    path[0] = {"options": "styles"}.get(path[0], path[0])
    return _cut(".".join(path), MAX_FIELD_TEXT)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _packed(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
