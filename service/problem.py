"""Errors over REST: problem+json (RFC 9457) for everything that goes wrong, wherever it does."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import Scope

from service.errors import REASONS, FieldError, ServiceError

MEDIA_TYPE = "application/problem+json"
MAX_FIELD_ERRORS = 20

# What the framework itself refuses, by status.
_FRAMEWORK_REASONS = {
    HTTPStatus.BAD_REQUEST: "INVALID_MULTIPART",
    HTTPStatus.NOT_FOUND: "NOT_FOUND",
    HTTPStatus.METHOD_NOT_ALLOWED: "METHOD_NOT_ALLOWED",
    HTTPStatus.CONTENT_TOO_LARGE if hasattr(HTTPStatus, "CONTENT_TOO_LARGE") else 413: "x",
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
    reason: str = Field(description="stable code for programs", json_schema_extra={"enum": [*REASONS]})
    request_id: str = Field(description="also in the X-Request-Id header and the server's log")
    errors: list[ProblemField] = Field(default=[], description="the fields at fault")
