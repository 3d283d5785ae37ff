"""What the OpenAPI document says beyond the routes' signatures: pictures, headers and problems."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.errors import REASONS
from service.negotiation import MEDIA_TYPES
from service.oip_schemas import InferenceRequest, InferenceResponse
from service.problem import MEDIA_TYPE, InferenceProblem, Problem
from service.schemas import EncodeForm, SynthesisForm

Responses = dict[int | str, dict[str, Any]]
_COMPONENTS = "#/components/schemas/{model}"


def problems(*reasons: str, schema: str = "Problem") -> Responses:
    """Describe the problems that a route may answer with, by their status."""
    by_status: dict[int, list[str]] = defaultdict(list)
    for reason in reasons:
        by_status[REASONS[reason].http].append(f"`{reason}`: {REASONS[reason].title.lower()}")
    retryable = {REASONS[reason].http for reason in reasons if REASONS[reason].retryable}
    return {
        status: {
            "description": "; ".join(lines),
            "content": {MEDIA_TYPE: {"schema": _reference(schema)}},
            **({"headers": {"Retry-After": _RETRY_AFTER}} if status in retryable else {}),
        }
        for status, lines in sorted(by_status.items())
    }


def form_body(form: type[BaseModel]) -> dict[str, Any]:
    """Describe the multipart form that a route reads by itself."""
    schema = {"schema": _reference(form.__name__)}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": schema}}}


def _reference(model: str) -> dict[str, str]:
    return {"$ref": _COMPONENTS.format(model=model)}


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


_RETRY_AFTER = _header("seconds until the request may succeed", "2")
_ETAG = _header(
    "name of the photograph by its content; sent back as `If-None-Match`, it saves the answer's "
    "body if the photograph would be the same",
    '"0123456789abcdef0123456789abcdef"',
)

PNG: dict[str, Any] = {"description": "the map", "content": {"image/png": {}}}

_PHOTO: dict[str, Any] = {
    "description": "the photograph, of the size of the label map",
    "content": {
        media_type: {"schema": {"type": "string", "format": "binary"}}
        for media_type in MEDIA_TYPES.values()
    },
    "headers": {
        "X-Request-Id": _header("the request's own id if it is sane, else a new one", "7f3a9c"),
        "X-Model-Version": _header("version of the model, as in `/v1/models`", "0123456789ab"),
        "Server-Timing": _header(
            "milliseconds of each stage",
            "decode;dur=3.1, queue;dur=0.1, infer;dur=412.9, encode;dur=4.0",
        ),
        "ETag": _ETAG,
        "X-Cache": _header("`hit` if the photograph had been made before, else `miss`", "miss"),
        "X-Faithfulness": _header(
            "how well the photograph shows its layout, 0..1; with `min_faithfulness` only", "0.8312"
        ),
        "X-Image-Width": _header("pixels; with application/octet-stream only", "2048"),
        "X-Image-Height": _header("pixels; with application/octet-stream only", "1024"),
    },
}

_NOT_MODIFIED = {
    "description": "the photograph is the one that `If-None-Match` names",
    "headers": {"ETag": _ETAG},
}
OUTSIDE_SYNTHESIS = {
    *("NOT_FOUND", "METHOD_NOT_ALLOWED", "NO_SAMPLES", "MODEL_NOT_FOUND", "INVALID_MESSAGE"),
    "LOAD_FAILED",
}
SYNTHESIS_RESPONSES: Responses = {
    200: _PHOTO,
    304: _NOT_MODIFIED,
    **problems(*(reason for reason in REASONS if reason not in OUTSIDE_SYNTHESIS)),
}

_BINARY = {"schema": {"type": "string", "format": "binary"}}
# Of a form or a photograph's format; a batch has neither.
_OF_FORMS = {
    *("NOT_MULTIPART", "INVALID_MULTIPART", "NOT_ACCEPTABLE", "NO_JUDGE", "UNFAITHFUL"),
}
INFERENCE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _reference("InferenceRequest")},
            "application/octet-stream": _BINARY,
        },
    }
}
INFERENCE_RESPONSES: Responses = {
    200: {
        "description": "the outputs; bytes stand behind the JSON",
        "content": {
            "application/json": {"schema": _reference("InferenceResponse")},
            "application/octet-stream": _BINARY,
        },
    },
    **problems(
        "MODEL_NOT_FOUND",
        *(reason for reason in REASONS if reason not in OUTSIDE_SYNTHESIS | _OF_FORMS),
        schema="InferenceProblem",
    ),
}


_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
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
                [
                    (Problem, "serialization"),
                    (InferenceProblem, "serialization"),
                    (InferenceRequest, "validation"),
                    (InferenceResponse, "serialization"),
                    (SynthesisForm, "validation"),
                    (EncodeForm, "validation"),
                ],
                ref_template=_COMPONENTS,
            )
            # As in the framework's own schemas: what a form leaves out is not null.
            definitions = jsonable_encoder(definitions["$defs"], exclude_none=True)
            schema["components"]["schemas"] |= definitions
            schema["components"]["securitySchemes"] = _KEYS
            schema["security"] = [{}, *({name: []} for name in _KEYS)]  # {} = or without a key
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
