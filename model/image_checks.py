"""What is checked about an image file before it is decoded, and how decoding errors are told."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from model.errors import MapError

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\x93NUMPY": "NPY",
    b"PK\x03\x04": "ZIP",
    b"%PDF": "PDF",
}


def image_format(data: bytes) -> str | None:
    """Name the format that the first bytes announce; None if it is not one we know."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        return "AVIF or HEIC"
    return next((kind for start, kind in _SIGNATURES.items() if data.startswith(start)), None)


def require_format(data: bytes, accepted: tuple[str, ...], name: str, rule: str) -> str:
    """Return the format of ``data``, one of ``accepted``.

    ``rule`` ends the message and says what is accepted. Raises MapError EMPTY_UPLOAD or
    UNSUPPORTED_FORMAT.
    """
    if not data:
        raise MapError("EMPTY_UPLOAD", f"{name}: holds no bytes; {rule}")
    found = image_format(data)
    if found in accepted:
        return found
    what = found or f"of an unknown format (it starts with bytes {data[:4].hex(' ')})"
    raise MapError("UNSUPPORTED_FORMAT", f"{name}: is {what}; {rule}")


def check_pixels(width: int, height: int, max_pixels: int, name: str) -> None:
    """Refuse an image of more than ``max_pixels`` pixels (MapError IMAGE_TOO_LARGE)."""
    if width * height > max_pixels:
        raise MapError(
            "IMAGE_TOO_LARGE",
            f"{name}: has {width}x{height} = {width * height} pixels; the limit is {max_pixels}",
        )


@contextmanager
def decoding_errors(name: str) -> Iterator[None]:
    """Turn what Pillow raises for damaged files into MapError INVALID_IMAGE."""
    try:
        yield
    except MapError:
        raise
    except Image.DecompressionBombError as error:
        raise MapError("IMAGE_TOO_LARGE", f"{name}: {error}") from error
    except (
        ArithmeticError,
        EOFError,
        LookupError,
        OSError,
        SyntaxError,  # Pillow's word for "not the format it claims to be"
        TypeError,
        ValueError,
        struct.error,
        zlib.error,
    ) as error:
        raise MapError("INVALID_IMAGE", f"{name}: is damaged or incomplete: {error}") from error
