"""Multipart forms: whatever clients write is read, and whatever is broken is told."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ServiceError
from service.forms import MAX_HEAD_BYTES, MAX_PARTS, MAX_TEXT_BYTES, Part, take_apart

BOUNDARY = b"frontier"


def written(*parts: tuple[bytes, bytes], end: bytes = b"--\r\n", before: bytes = b"") -> bytes:
    """Write a form of (headers without the last line break, content)."""
    pieces = [b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + data for head, data in parts]
    return before + b"\r\n".join([*pieces, b"--" + BOUNDARY + end])


def disposition(parameters: bytes) -> bytes:
    """Write the header of a part."""
    return b"Content-Disposition: form-data; " + parameters


@given(
    st.lists(st.tuples(st.from_regex(r"[a-z_]{1,20}", fullmatch=True), st.binary()), max_size=5),
    st.sampled_from([b"", b"preamble\r\n", b"\r\n"]),
)
def test_any_bytes_come_through(fields: list[tuple[str, bytes]], before: bytes) -> None:
    """Files of any bytes are what they were, in their order."""
    if any(b"--" + BOUNDARY in data for _, data in fields):
        return
    parts = [(disposition(f'name="{name}"; filename="f"'.encode()), data) for name, data in fields]
    assert take_apart(written(*parts, before=before), BOUNDARY) == [
        Part(name, data, is_file=True) for name, data in fields
    ]


@pytest.mark.parametrize(
    ("head", "name", "is_file"),
    [
        (disposition(b'name="label"; filename="l.png"\r\nContent-Type: image/png'), "label", True),
        (disposition(b'filename="a; name=b"; name="label"'), "label", True),
        (disposition(b"name=label;filename*=UTF-8''l%20.png"), "label", True),
        (
            b"content-type: text/plain\r\ncontent-disposition:form-data;name=options",
            "options",
            False,
        ),
        (disposition(b'name="a\\"b"'), 'a"b', False),
        (disposition('name="straße"; filename=""'.encode()), "straße", True),
        (disposition(b'name="label"; filename="C:\\maps\\l.png"'), "label", True),
    ],
)
def test_headers_as_clients_write_them(head: bytes, name: str, is_file: bool) -> None:
    """Quotes, order, case and blanks vary between clients."""
    assert take_apart(written((head, b"1")), BOUNDARY) == [Part(name, b"1", is_file)]


def test_lines_that_begin_like_the_boundary() -> None:
    """Only a boundary that is alone on its line ends a part; blanks behind it are allowed."""
    data = b"a\r\n--frontierland\r\n--fronti"
    head = disposition(b'name="x"; filename=""')
    (part,) = take_apart(written((head, data), end=b"--  \r\nepilogue"), BOUNDARY)
    assert part.data == data
    padded = written((head, b"1"), (head, b"2")).replace(b"frontier\r\n", b"frontier \t\r\n")
    assert [part.data for part in take_apart(padded, BOUNDARY)] == [b"1", b"2"]


def test_parts_without_content() -> None:
    """An empty part has no bytes, whether its empty line is there or not."""
    head = disposition(b'name="x"')
    body = written((head, b""))
    assert take_apart(body, BOUNDARY) == [Part("x", b"", is_file=False)]
    assert take_apart(body.replace(b"\r\n\r\n\r\n", b"\r\n\r\n"), BOUNDARY)[0].data == b""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "boundary is missing"),
        (b"no form at all", "boundary is missing"),
        (written((disposition(b'name="x"'), b"1"))[:-12], "boundary is missing"),
        (written((b"Content-Type: image/png", b"1")), "part 1 has no Content-Disposition"),
        (written((b"Content-Disposition: attachment; name=x", b"1")), "no Content-Disposition"),
        (written((disposition(b'name="x'), b"1")), "no Content-Disposition"),
        (written((disposition(b"filename=x"), b"1")), "no Content-Disposition"),
        (b"--frontier\r\nContent-Disposition: form-data; name=x\r\n--frontier--", "do not end"),
        (written((b"x: " + bytes(MAX_HEAD_BYTES), b"")), "headers of part 1 do not end"),
        (b"--frontierless\r\n\r\n1\r\n--frontier--", "not alone on its line"),
        (written(*[(disposition(b"name=x"), b"1")] * (MAX_PARTS + 1)), "more than 5 texts"),
        (written(*[(disposition(b"name=x;filename=y"), b"1")] * 6), "more than 5 files"),
        (written((disposition(b"name=x"), bytes(MAX_TEXT_BYTES + 1))), "more than 262144 bytes"),
    ],
)
def test_broken_forms_are_told(body: bytes, words: str) -> None:
    """What cannot be taken apart is refused with what is wrong about it."""
    with pytest.raises(ServiceError, match=words) as caught:
        take_apart(body, BOUNDARY)
    assert caught.value.reason == "INVALID_MULTIPART"


@given(st.lists(st.sampled_from([b"\r\n", b"--", BOUNDARY, b"name=x", b";", b'"', b": ", b"a"])))
def test_nothing_but_a_refusal(pieces: list[bytes]) -> None:
    """Whatever bytes come, a form is read or refused."""
    with contextlib.suppress(ServiceError):
        take_apart(b"--" + BOUNDARY + b"\r\n" + b"".join(pieces), BOUNDARY)
