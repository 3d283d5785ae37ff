"""What the OpenAPI document says beyond the routes' signatures: pictures, headers and problems."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from model.image_io import PHOTO_FORMATS
from service.errors import REASONS
from service.problem import MEDIA_TYPE, Problem

Responses = dict[int | str, dict[str, Any]]
_COMPONENTS = "#/components/schemas/{model}"


def problems(*reasons: str) -> Responses:
    """Describe the problems that a route may answer with, by their status."""
    by_status: dict[int, list[str]] = defaultdict(list)
    for reason in reasons:
        by_status[REASONS[reason].http].append(f"`{reason}`: {REASONS[reason].title.lower()}")
    schema = {"$ref": _COMPONENTS.format(model="Problem")}
    return {
        status: {
            "description": "; ".join(lines),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status, lines in sorted(by_status.items())
    }


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


PNG: dict[str, Any] = {"description": "the map", "content": {"image/png": {}}}

_PHOTO: dict[str, Any] = {
    "description": "the photograph, of the size of the label map",
    "content": {entry.media_type: {} for entry in PHOTO_FORMATS.values()},
    "headers": {
        "X-Request-Id": _header("the request's own id if it is sane, else a new one", "7f3a9c"),
        "X-Model-Version": _header("version of the model, as in `/v1/models`", "0123456789ab"),
        "Server-Timing": _header(
            "milliseconds of each stage",
            "decode;dur=3.1, queue;dur=0.1, infer;dur=412.9, encode;dur=4.0",
        ),
    },
}

_OUTSIDE = {"NOT_FOUND", "METHOD_NOT_ALLOWED", "NO_SAMPLES"}
SYNTHESIS_RESPONSES: Responses = {
    200: _PHOTO,
    **problems(*(reason for reason in REASONS if reason not in _OUTSIDE)),
}


def describe_openapi(app: FastAPI) -> None:
    """Make the application's document complete: add the schema that problems refer to."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
            )
            _, definitions = models_json_schema(
                [(Problem, "serialization")], ref_template=_COMPONENTS
            )
            schema["components"]["schemas"] |= definitions["$defs"]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
