"""Between the bodies of the Open Inference Protocol's REST face and tensors.

Tensors stand in the JSON, or as bytes behind it, one after the other; the header
``Inference-Header-Content-Length`` then tells where the JSON ends, in either direction.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from service.errors import ServiceError
from service.oip import InferRequest, Parameter, Tensor, invalid, pack_bytes, unpack_bytes
from service.oip_schemas import InferenceInput, InferenceRequest, InferenceResponse, InferenceResult
from service.problem import validation_error

HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_JSON_ELEMENTS = 1 << 19
"""Of an output: writing more of them as text would hold up every other request."""

_DTYPES: dict[str, np.dtype[Any]] = {
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
}


@dataclass(frozen=True)
class ResponseForm:
    """How the answer is wanted."""

    id: str
    binary: bool


@dataclass(frozen=True)
class ResponseBody:
    """An answer."""

    body: bytes
    media_type: str
    headers: dict[str, str] = field(default_factory=dict)


def read_request(
    body: bytes, encoding: str, header_length: str | None, max_bytes: int
) -> tuple[InferRequest, ResponseForm]:
    """Read a request's body, which may be compressed to at most ``max_bytes``.

    Raises ServiceError INVALID_FIELD, MISSING_FIELD or UPLOAD_TOO_LARGE.
    """
    if encoding:
        body = _inflate(body, encoding, max_bytes)
    end = _header_end(header_length, len(body))
    try:
        request = InferenceRequest.model_validate_json(body[:end])
    except ValidationError as error:
        faults = [fault | {"loc": ("body", *fault["loc"])} for fault in error.errors()]
        raise validation_error(faults) from error
    tensors = _tensors(request.inputs, body[end:])
    parameters = dict(request.parameters)
    binary = _flag(parameters.pop("binary_data_output", False), "binary_data_output")
    for output in request.outputs:
        binary = _flag(output.parameters.pop("binary_data", binary), "binary_data")
        _no_more(output.name, output.parameters)
    names = [output.name for output in request.outputs]
    plain = {name: _plain(value, name) for name, value in parameters.items()}
    return InferRequest(tensors, plain, names), ResponseForm(request.id, binary)


def write_response(image: Tensor, form: ResponseForm, model: str, version: str) -> ResponseBody:
    """Write an answer. Raises ServiceError INVALID_FIELD if text cannot hold it."""
    result = InferenceResult(name=image.name, datatype=image.datatype, shape=list(image.shape))
    data = b""
    if form.binary:
        data = pack_bytes(image.items) if image.items else image.data
        result.parameters = {"binary_data_size": len(data)}
    elif image.items or len(image.data) > MAX_JSON_ELEMENTS:
        raise invalid(
            "outputs", "image: is no text or too large for it; ask for it with binary_data"
        )
    else:
        result.data = list(image.data)
    response = InferenceResponse(
        model_name=model, model_version=version, id=form.id, outputs=[result]
    )
    text = response.model_dump_json(exclude_defaults=True).encode()
    if not form.binary:
        return ResponseBody(text, "application/json")
    headers = {HEADER_LENGTH: str(len(text))}
    return ResponseBody(text + data, "application/octet-stream", headers)


def _inflate(body: bytes, encoding: str, max_bytes: int) -> bytes:
    if encoding not in ("gzip", "deflate"):
        raise invalid("Content-Encoding", f"is gzip or deflate, not {encoding[:100]!r}")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # tells the two apart by itself
    try:
        plain = inflater.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise invalid("Content-Encoding", f"the body is no {encoding}: {error}") from error
    if len(plain) > max_bytes:
        raise ServiceError(
            "UPLOAD_TOO_LARGE",
            f"the request body inflates to more bytes than the limit, {max_bytes}",
        )
    if not inflater.eof:
        raise invalid("Content-Encoding", "the body is cut off")
    return plain


def _header_end(header_length: str | None, size: int) -> int:
    if header_length is None:
        return size
    # Python refuses to read numbers of thousands of digits.
    if not (header_length.isascii() and header_length.isdecimal() and len(header_length) < 10):
        raise invalid(HEADER_LENGTH, f"is a number of bytes, not {header_length[:100]!r}")
    if int(header_length) > size:
        raise invalid(HEADER_LENGTH, f"is {header_length}, but the body has {size} bytes")
    return int(header_length)


def _tensors(inputs: Sequence[InferenceInput], binary: bytes) -> list[Tensor]:
    tensors, start = [], 0
    for given in inputs:
        name = given.name[:100]
        parameters = dict(given.parameters)
        size = parameters.pop("binary_data_size", None)
        _no_more(given.name, parameters)
        if size is None:
            tensors.append(_from_json(given))
            continue
        if not isinstance(size, int) or isinstance(size, bool) or size < 0 or given.data:
            raise invalid(name, "its binary_data_size is a number of bytes, and data is left out")
        data = binary[start : start + size]
        if len(data) != size:
            raise invalid(name, f"has {len(data)} of {size} bytes behind the JSON")
        start += size
        tensors.append(_from_bytes(given, data))
    if start != len(binary):
        raise invalid("inputs", f"{len(binary) - start} bytes behind the JSON belong to no input")
    return tensors


def _from_bytes(given: InferenceInput, data: bytes) -> Tensor:
    shape = tuple(given.shape)
    if given.datatype == "BYTES":
        return Tensor(given.name, "BYTES", shape, items=unpack_bytes(data, given.name[:100]))
    return Tensor(given.name, given.datatype, shape, data)


def _from_json(given: InferenceInput) -> Tensor:
    shape, data = tuple(given.shape), given.data or []
    if given.datatype == "BYTES":
        if not all(isinstance(item, str) for item in data):
            raise invalid(given.name[:100], "BYTES in JSON are a flat list of strings")
        items = tuple(item.encode("utf-8", "surrogatepass") for item in data)
        return Tensor(given.name, "BYTES", shape, items=items)
    dtype = _DTYPES.get(given.datatype)
    if dtype is None:  # refused with the datatypes that there are
        return Tensor(given.name, given.datatype, shape)
    return Tensor(given.name, given.datatype, shape, _integers(data, dtype, given).tobytes())


def _integers(data: list[Any], dtype: np.dtype[Any], given: InferenceInput) -> NDArray[Any]:
    try:
        values = np.array(data)
    except ValueError:  # rows of different lengths
        values = np.array(None)
    limits = np.iinfo(dtype)
    if values.dtype.kind not in "iu" or values.min() < limits.min or values.max() > limits.max:
        raise invalid(given.name[:100], f"its data are whole numbers that fit {given.datatype}")
    return values.astype(dtype)


def _no_more(name: str, parameters: dict[str, Any]) -> None:
    for parameter in parameters:
        raise invalid(name[:100], f"its parameter {parameter[:100]!r} is not known here")


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(name, f"is true or false, not {str(value)[:100]!r}")
    return value


def _plain(value: object, name: str) -> Parameter:
    if not isinstance(value, bool | int | float | str):
        raise invalid(name[:100], "is a number, a text, true or false")
    return value
