"""The container of a PNG file, checked before a decoder sees it.

A decoder gets only the chunks that make up the pixels, checked to be whole. Text and colour
profiles, which may unpack to a thousand times their size, are never decompressed.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from isal import isal_zlib

from model.errors import MapError
from model.image_checks import check_pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6

_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGBA: (8, 16),
}
_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
# Left, top, column step and row step of the seven interlacing passes (PNG, section 8.2).
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
# An ordinary encoder writes a chunk per 8 kB or more; a file of a million tiny ones is an attack.
_MAX_CHUNKS = 1 << 16
_STORED = 0xFFFF
"""Largest block of a zlib stream that is not compressed (RFC 1951, section 3.2.4)."""


@dataclass(frozen=True)
class PngHeader:
    """What the first chunk says about the pixels."""

    width: int
    height: int
    depth: int
    """Bits per channel: 1, 2, 4, 8 or 16."""
    colour_type: int
    """GREY, RGB, PALETTE, GREY_ALPHA or RGBA."""
    interlaced: bool


def read_png_header(data: bytes, max_pixels: int, name: str) -> PngHeader:
    """Read the header of a PNG file.

    Raises MapError INVALID_IMAGE, or IMAGE_TOO_LARGE above ``max_pixels`` pixels.
    """
    if len(data) < 33 or data[8:16] != b"\0\0\0\x0dIHDR":
        raise MapError(
            "INVALID_IMAGE",
            f"{name}: its {len(data)} bytes do not begin with a whole PNG header (IHDR)",
        )
    width, height, depth, colour_type, *methods = struct.unpack_from(">IIBBBBB", data, 16)
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31):
        raise MapError("INVALID_IMAGE", f"{name}: its header gives the size {width}x{height}")
    check_pixels(width, height, max_pixels, name)
    if depth not in _DEPTHS.get(colour_type, ()) or methods not in ([0, 0, 0], [0, 0, 1]):
        raise MapError(
            "INVALID_IMAGE",
            f"{name}: its header gives {depth} bits, colour type {colour_type} and methods "
            f"{methods}, which PNG does not define",
        )
    return PngHeader(width, height, depth, colour_type, interlaced=methods[2] == 1)


def pixel_chunks(
    data: bytes, header: PngHeader, name: str, keep: frozenset[bytes] = frozenset()
) -> bytes:
    """Return the PNG file reduced to its critical chunks and those named in ``keep``.

    Raises MapError INVALID_IMAGE, saying what is wrong at which byte, and MULTIPLE_FRAMES for an
    animation.
    """
    return _take_apart(data, header, name, keep)[0]


def _take_apart(
    data: bytes, header: PngHeader, name: str, keep: frozenset[bytes]
) -> tuple[bytes, bytes]:
    """Return the wanted chunks and the rows."""
    wanted = _CRITICAL | keep
    kept, pixels = [SIGNATURE], []
    offset, kind = len(SIGNATURE), b""
    for _ in range(_MAX_CHUNKS):
        start = offset
        kind, offset = _next_chunk(data, start, name)
        if kind == b"acTL":
            raise MapError("MULTIPLE_FRAMES", f"{name}: is an animated PNG; send a single image")
        # A second header would replace the one whose size was checked.
        if (kind == b"IHDR") != (start == len(SIGNATURE)):
            raise MapError("INVALID_IMAGE", f"{name}: has a misplaced {kind!r} at byte {start}")
        if kind in wanted:
            kept.append(data[start:offset])
        if kind == b"IDAT":
            pixels.append(data[start + 8 : offset - 4])
        if kind == b"IEND":
            break
    else:
        raise MapError("INVALID_IMAGE", f"{name}: has more than {_MAX_CHUNKS} chunks")
    return b"".join(kept), _inflate(b"".join(pixels), header, name)


def inflated(data: bytes, header: PngHeader, name: str) -> bytes:
    """Return the PNG file with its pixels alone, checked and not compressed any more.

    So a decoder that undoes the filters of the rows need not decompress them a second time.
    Raises MapError as ``pixel_chunks`` does.
    """
    rows = _take_apart(data, header, name, frozenset())[1]
    # A zlib stream of blocks that are stored as they are.
    pieces: list[bytes | memoryview] = [b"\x78\x01"]
    last = (len(rows) - 1) // _STORED
    view = memoryview(rows)
    for number in range(last + 1):
        piece = view[number * _STORED : (number + 1) * _STORED]
        pieces += [struct.pack("<BHH", number == last, len(piece), len(piece) ^ 0xFFFF), piece]
    pieces.append(struct.pack(">I", isal_zlib.adler32(rows)))
    start = data[:33]  # signature and header
    return start + _chunk(b"IDAT", b"".join(pieces)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = isal_zlib.crc32(data, isal_zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def _inflate(stream: bytes, header: PngHeader, name: str) -> bytes:
    """Decompress the rows, each with its filter byte, and see that none is missing.

    Pillow would fill up with zeros.
    """
    expected = _scanline_bytes(header)
    decompressor = isal_zlib.decompressobj()
    try:
        rows: bytes = decompressor.decompress(stream, expected + 1)
    except isal_zlib.error as error:  # type: ignore[misc]  # the stub declares an instance
        raise MapError(
            "INVALID_IMAGE", f"{name}: its pixel data (IDAT) does not decompress: {error}"
        ) from error
    if len(rows) != expected or not decompressor.eof:
        given = "more" if len(rows) > expected else len(rows)
        raise MapError(
            "INVALID_IMAGE",
            f"{name}: its pixel data (IDAT) gives {given} of the {expected} bytes that "
            f"{header.width}x{header.height} pixels need",
        )
    return rows


def _scanline_bytes(header: PngHeader) -> int:
    """Return how many bytes the rows take, each with its filter byte (PNG, section 7.2)."""
    passes = _ADAM7 if header.interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, step_x, step_y in passes:
        columns = -(-max(header.width - left, 0) // step_x)
        rows = -(-max(header.height - top, 0) // step_y)
        bits = columns * header.depth * _CHANNELS[header.colour_type]
        total += rows * (1 + -(-bits // 8)) if columns else 0
    return total


def _next_chunk(data: bytes, start: int, name: str) -> tuple[bytes, int]:
    """Verify the chunk at byte ``start``; return its kind and the byte after it."""
    if start + 12 > len(data):
        raise MapError(
            "INVALID_IMAGE",
            f"{name}: is cut off at byte {len(data)}, before its end chunk (IEND)",
        )
    length, kind = struct.unpack_from(">I4s", data, start)
    end = start + 12 + length
    shown = repr(kind)[2:-1]  # readable even if it is not text
    if end > len(data):
        raise MapError(
            "INVALID_IMAGE",
            f"{name}: is cut off at byte {len(data)}; its chunk {shown} at byte {start} "
            f"reaches to byte {end}",
        )
    (checksum,) = struct.unpack_from(">I", data, end - 4)
    if checksum != zlib.crc32(memoryview(data)[start + 4 : end - 4]):
        raise MapError(
            "INVALID_IMAGE",
            f"{name}: the checksum of its chunk {shown} at byte {start} is wrong",
        )
    return kind, end
