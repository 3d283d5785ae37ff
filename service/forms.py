"""Multipart forms of a few fields (RFC 7578), taken apart in memory.

Uploads are bounded and needed whole, so the body is searched for its boundaries instead of being
fed byte by byte to a parser, and every file is copied once. ``service.schemas`` says what the
fields of a form mean.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from service.errors import ServiceError
from service.problem import validation_error

Form = TypeVar("Form", bound=BaseModel)

MAX_PARTS = 5
"""Of files, and of texts: a form has four fields; a few more are read so that their names can be
told."""
MAX_TEXT_BYTES = 256 << 10
MAX_HEAD_BYTES = 4 << 10
"""Of the headers of one part."""
_LARGE = 1 << 20
"""Bytes of a body from which taking it apart would keep the event loop waiting."""
_BOUNDARY = re.compile(r';[ \t]*boundary=(?:"([^"]{1,200})"|([^;\s"]{1,200}))', re.IGNORECASE)
_DISPOSITION = re.compile(rb"(?im)^content-disposition[ \t]*:[ \t]*form-data[ \t]*(;.*?)[ \t]*\r?$")
_PARAMETER = re.compile(
    rb';[ \t]*([\w*.-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;"\s]*))[ \t]*', re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form."""

    name: str
    data: bytes
    is_file: bool
    """Whether it came with a file name, which may be empty."""


async def read_form(request: Request, form: type[Form]) -> Form:
    """Return the form in a request's body; text fields that are empty count as left out.

    Raises ServiceError NOT_MULTIPART, INVALID_MULTIPART, CANCELLED, and MISSING_FIELD,
    INVALID_FIELD or INVALID_OPTIONS naming every field at fault.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip()
    if media_type.lower() != "multipart/form-data":
        raise ServiceError(
            "NOT_MULTIPART",
            f"Content-Type is {media_type!r}; send multipart/form-data: curl -F label=@label.png",
        )
    boundary = _boundary(content_type)
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
    except ClientDisconnect:
        raise ServiceError("CANCELLED", "the client closed the connection") from None
    if len(body) < _LARGE:
        parts = take_apart(body, boundary)
    else:
        parts = await asyncio.to_thread(take_apart, body, boundary)
    fields: dict[str, Part] = {}
    for part in parts:
        name = part.name
        if name in fields:
            raise ServiceError.at([name], "INVALID_FIELD", f"{name}: is there more than once")
        fields[name] = part
    given = {name: part for name, part in fields.items() if part.data or part.is_file}
    try:
        return form.model_validate(given)
    except ValidationError as error:
        faults: list[Any] = [fault | {"loc": ("body", *fault["loc"])} for fault in error.errors()]
        raise validation_error(faults) from error


def take_apart(body: bytes | bytearray, boundary: bytes) -> list[Part]:
    """Return the parts of a form, in order. Raises ServiceError INVALID_MULTIPART."""
    parts: list[Part] = []
    marker = b"\r\n--" + boundary
    # The first boundary may stand at the very beginning, without the line break of the others.
    position = len(marker) - 2 if body.startswith(marker[2:]) else _behind(body, marker, 0)
    while not body.startswith(b"--", position):
        head = _line_end(body, position)
        start = body.find(b"\r\n\r\n", head - 2, head + MAX_HEAD_BYTES) + 4
        if start < 4:
            raise _invalid(f"the headers of part {len(parts) + 1} do not end")
        position = _behind(body, marker, start - 2)  # an empty part ends with its headers
        end = max(start, position - len(marker))
        parts.append(_part(bytes(memoryview(body)[head:start]), body, start, end, len(parts) + 1))
        for kind, is_file in (("files", True), ("texts", False)):
            if sum(part.is_file is is_file for part in parts) > MAX_PARTS:
                raise _invalid(f"there are more than {MAX_PARTS} {kind}")
    return parts


def _part(head: bytes, body: bytes | bytearray, start: int, end: int, number: int) -> Part:
    disposition = _DISPOSITION.search(head)
    parameters = _parameters(disposition[1]) if disposition else {}
    if b"name" not in parameters:
        raise _invalid(f"part {number} has no Content-Disposition: form-data with a name")
    name = parameters[b"name"].decode("utf-8", "replace")
    is_file = b"filename" in parameters or b"filename*" in parameters
    if not is_file and end - start > MAX_TEXT_BYTES:
        raise _invalid(f"{name[:100]}: has more than {MAX_TEXT_BYTES} bytes; send it as a file")
    return Part(name, bytes(memoryview(body)[start:end]), is_file)


def _parameters(text: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    position = 0
    while match := _PARAMETER.match(text, position):
        key, quoted, token = match.groups()
        plain = token if quoted is None else re.sub(rb"\\([\\\"])", rb"\1", quoted)
        found.setdefault(key.lower(), plain)
        position = match.end()
    return found if position == len(text) else {}


def _behind(body: bytes | bytearray, marker: bytes, start: int) -> int:
    """Return the position behind the next boundary from ``start`` on."""
    while (found := body.find(marker, start)) >= 0:
        position = found + len(marker)
        # Data may hold a line that begins like the boundary and goes on.
        if body[position : position + 1] in (b"\r", b" ", b"\t") or body.startswith(
            b"--", position
        ):
            return position
        start = position
    raise _invalid("its last boundary is missing")


def _line_end(body: bytes | bytearray, position: int) -> int:
    """Return where the line behind a boundary begins, past blanks that transports may add."""
    end = body.find(b"\r\n", position, position + 100)
    if end < 0 or body[position:end].strip(b" \t"):
        raise _invalid("a boundary is not alone on its line")
    return end + 2


def _boundary(content_type: str) -> bytes:
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise _invalid("its Content-Type names no boundary")
    return (match[1] or match[2]).encode("latin-1", "replace")


def _invalid(fault: str) -> ServiceError:
    return ServiceError("INVALID_MULTIPART", f"the form cannot be read: {fault}")
