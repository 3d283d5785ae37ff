"""The container of a PNG file, read before any pixel is decompressed.

A decoder gets only the chunks that make up the pixels, each with its checksum verified. Text and
colour profiles, which may unpack to a thousand times their size, are never decompressed.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

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
# An ordinary encoder writes a chunk per 8 kB or more; a file of a million tiny ones is an attack.
_MAX_CHUNKS = 1 << 16


@dataclass(frozen=True)
class PngHeader:
    """What the first chunk says about the pixels."""

    width: int
    height: int
    depth: int
    """Bits per channel: 1, 2, 4, 8 or 16."""
    colour_type: int
    """GREY, RGB, PALETTE, GREY_ALPHA or RGBA."""


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
    return PngHeader(width, height, depth, colour_type)


def pixel_chunks(data: bytes, name: str, keep: frozenset[bytes] = frozenset()) -> bytes:
    """Return the PNG file reduced to its critical chunks and those named in ``keep``.

    Raises MapError INVALID_IMAGE, saying what is wrong at which byte, and MULTIPLE_FRAMES for an
    animation.
    """
    wanted = _CRITICAL | keep
    kept = [SIGNATURE]
    offset, kind, has_pixels = len(SIGNATURE), b"", False
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
        has_pixels |= kind == b"IDAT"
        if kind == b"IEND":
            break
    else:
        raise MapError("INVALID_IMAGE", f"{name}: has more than {_MAX_CHUNKS} chunks")
    if not has_pixels:
        raise MapError("INVALID_IMAGE", f"{name}: has no pixel data (IDAT)")
    return b"".join(kept)


def _next_chunk(data: bytes, start: int, name: str) -> tuple[bytes, int]:
    """Verify the chunk at byte ``start``; return its kind and the byte after it."""
    if start + 12 > len(data):
        raise MapError(
            "INVALID_IMAGE",
            f"{name}: is cut off at byte {len(data)}, before its end chunk (IEND)",
        )
    length, kind = struct.unpack_from(">I4s", data, start)
    end = start + 12 + length
    if end > len(data):
        raise MapError(
            "INVALID_IMAGE",
            f"{name}: is cut off at byte {len(data)}; its chunk {kind!r} at byte {start} "
            f"reaches to byte {end}",
        )
    (checksum,) = struct.unpack_from(">I", data, end - 4)
    if checksum != zlib.crc32(memoryview(data)[start + 4 : end - 4]):
        raise MapError(
            "INVALID_IMAGE", f"{name}: the checksum of its chunk {kind!r} at byte {start} is wrong"
        )
    return kind, end
