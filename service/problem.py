"""Errors over REST: problem+json (RFC 9457) for everything that goes wrong, wherever it does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import Scope

from service.errors import REASONS, FieldError, ServiceError

MEDIA_TYPE = "application/problem+json"
# A form of thousands of wrong styles is told by its first few.
MAX_FIELD_ERRORS = 20

# What the framework itself refuses, by status.
_FRAMEWORK_REASONS = {
    400: "INVALID_MULTIPART",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "UPLOAD_TOO_SLOW",
    413: "UPLOAD_TOO_LARGE",
}
# Where the validator's words speak of Python types instead of curl options.
_PLAIN_WORDS = {
    ("label", "value_error"): "is text; send a file: -F label=@label.png",
    ("instance", "value_error"): "is text; send a file: -F instance=@instance.png",
    ("photo", "value_error"): "is text; send a file: -F photo=@photo.jpg",
    ("style_photo", "value_error"): "is text; send a file: -F style_photo=@photo.jpg",
    ("options", "model_type"): 'is no JSON object, such as {"seed": 1}',
}


class ProblemField(BaseModel):
    """One fault in one field of the request."""

    pointer: str = Field(description="JSON pointer of the field", examples=["#/options/seed"])
    detail: str


class Problem(BaseModel):
    """Why a request was not served (RFC 9457)."""

    type: str = Field(examples=["urn:hdsynth:problem:LABEL_OUT_OF_RANGE"])
    title: str = Field(description="what happened, the same words every time")
    status: int
    detail: str = Field(description="the field, the offending value and the fix")
    instance: str = Field(description="path of the request")
    reason: str = Field(
        description="stable code for programs", json_schema_extra={"enum": [*REASONS]}
    )
    request_id: str = Field(description="also in the X-Request-Id header and the server's log")
    errors: list[ProblemField] = Field(description="the fields at fault")


class InferenceProblem(Problem):
    """The same for clients of the Open Inference Protocol, which read one member only."""

    error: str = Field(description="the same as `detail`")


def problem_response(
    scope: Scope, error: ServiceError, headers: Mapping[str, str] | None = None
) -> Response:
    """Tell a ServiceError to the client of a request, and the reason to its record."""
    scope["state"]["reason"] = error.reason
    problem = InferenceProblem(
        type=f"urn:hdsynth:problem:{error.reason}",
        title=error.row.title,
        status=error.row.http,
        detail=error.detail,
        instance=scope["state"]["path"],
        reason=error.reason,
        request_id=scope["state"]["request_id"],
        errors=[
            ProblemField(pointer=fault.pointer, detail=fault.detail)
            for fault in error.errors[:MAX_FIELD_ERRORS]
        ],
        error=error.detail,
    )
    others = None if scope["state"]["path"].startswith("/v2") else {"error"}
    body = problem.model_dump_json(indent=2, exclude=others) + "\n"
    response = Response(body, error.row.http, headers, MEDIA_TYPE)
    if error.retry_after_s is not None:  # whole seconds (RFC 9110, section 10.2.3)
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return response


def add_problem_handlers(app: FastAPI) -> None:
    """Render our errors, the framework's and the validator's alike."""

    @app.exception_handler(ServiceError)
    async def on_service_error(request: Request, error: ServiceError) -> Response:
        return problem_response(request.scope, error, error.headers)

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> Response:
        reason = _FRAMEWORK_REASONS[error.status_code]
        if error.status_code == 400 and "multipart" not in request.headers.get("content-type", ""):
            reason = "INVALID_MESSAGE"
        ours = ServiceError(reason, _sentence(request, error))
        return problem_response(request.scope, ours, error.headers)

    @app.exception_handler(RequestValidationError)
    async def on_invalid_request(request: Request, error: RequestValidationError) -> Response:
        return problem_response(request.scope, validation_error(error.errors()))


def validation_error(faults: Sequence[Any]) -> ServiceError:
    """Turn pydantic's list of faults into one error that names every field at fault."""
    errors = [_field_error(fault) for fault in faults]
    field = faults[0]["loc"][1:2]
    if any(fault["type"] == "missing" for fault in faults):
        reason = "MISSING_FIELD"
    else:
        reason = "INVALID_OPTIONS" if field == ("options",) else "INVALID_FIELD"
    return ServiceError(reason, "; ".join(error.detail for error in errors[:3]), errors)


def _field_error(fault: Any) -> FieldError:
    # The first key says where: body or path. "[key]" marks a fault in a key, not in its value.
    path = [key for key in fault["loc"][1:] if key != "[key]"]
    name = ".".join(map(str, path)) or "body"
    detail = f"{name}: {_PLAIN_WORDS.get((name, fault['type'])) or _words(fault)}"
    return FieldError.at(path, detail)


def _words(fault: Any) -> str:
    match fault["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not known here"
    value = fault["input"]
    if fault["type"] == "value_error":  # one of ours, which tells the value already
        return str(fault["msg"]).removeprefix("Value error, ")
    words = str(fault["msg"]).split(",")[0]
    if not isinstance(value, str | int | float | None):
        return words
    return f"{words[0].lower()}{words[1:]}, not {str(value)[:60]!r}"


def _sentence(request: Request, error: HTTPException) -> str:
    path = request.state.path
    match error.status_code:
        case 404:
            return f"{path}: there is nothing here; /docs lists what there is"
        case 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            return f"{path}: does not take {request.method}; use {allowed}"
    return str(error.detail)
