"""Read photographs of any common kind as RGB, and write the ones we make, fast.

Reading serves style references and training; writing serves every answer of the product.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from model.errors import MapError
from model.image_checks import check_pixels, decoding_errors, require_format
from model.map_io import FILE_MAX_PIXELS
from model.png_reader import pixel_chunks, read_png_header
from model.png_writer import encode_png

FormatName = Literal["png", "jpeg", "webp"]


@dataclass(frozen=True)
class PhotoFormat:
    """A format that photographs are written in."""

    name: FormatName
    media_type: str
    suffixes: tuple[str, ...]
    """File name endings, the usual one first."""
    max_side: int
    """Largest width or height in pixels."""
    quality: int
    """Default quality, 1..100; PNG is lossless and ignores it."""


PHOTO_FORMATS: dict[FormatName, PhotoFormat] = {
    "png": PhotoFormat("png", "image/png", (".png",), (1 << 31) - 1, 100),
    "jpeg": PhotoFormat("jpeg", "image/jpeg", (".jpg", ".jpeg"), 65500, 90),
    "webp": PhotoFormat("webp", "image/webp", (".webp",), 16383, 80),
}

_RULE = "a photograph must be a JPEG, PNG or WebP file"
_OPENERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
}
# Transparency and orientation change how the pixels are shown; nothing else is read.
_PNG_DISPLAY_CHUNKS = frozenset({b"tRNS", b"eXIf"})


def decode_photo(data: bytes, *, max_pixels: int, name: str = "image") -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or WebP photograph: (H, W, 3) uint8 RGB, upright.

    The EXIF orientation is applied; grey, palette, CMYK and 16-bit pixels become 8-bit RGB, and
    transparent ones are laid on white. ``name`` begins every message. Raises MapError
    EMPTY_UPLOAD, UNSUPPORTED_FORMAT, INVALID_IMAGE, IMAGE_TOO_LARGE or MULTIPLE_FRAMES.
    """
    found = require_format(data, tuple(_OPENERS), name, _RULE)
    if found == "PNG":
        header = read_png_header(data, max_pixels, name)
        data = pixel_chunks(data, header, name, keep=_PNG_DISPLAY_CHUNKS)
    with decoding_errors(name):
        # Opened directly: Image.open would warn above a limit of its own.
        image = _OPENERS[found](io.BytesIO(data))
        check_pixels(*image.size, max_pixels, name)
        if getattr(image, "n_frames", 1) > 1:
            raise MapError("MULTIPLE_FRAMES", f"{name}: is an animation; send a single image")
        return _to_rgb(ImageOps.exif_transpose(image))


def read_photo(path: str | Path) -> NDArray[np.uint8]:
    """Read a photograph from a file; see ``decode_photo``. Messages name the file."""
    return decode_photo(Path(path).read_bytes(), max_pixels=FILE_MAX_PIXELS, name=str(path))


def encode_photo(
    image: NDArray[np.uint8],
    format: FormatName,  # noqa: A002 - the word that Pillow and the command line use
    quality: int | None = None,
) -> bytes:
    """Encode an (H, W, 3) uint8 RGB image as a PNG, JPEG (4:2:0) or WebP file.

    ``quality`` is 1..100, None the format's default. The work runs outside the interpreter lock.
    Raises ValueError for any other array, format or quality, and for a side that is too long.
    """
    if format not in PHOTO_FORMATS:
        raise ValueError(f"unknown image format {format!r}; choose {', '.join(PHOTO_FORMATS)}")
    if quality is None:
        quality = PHOTO_FORMATS[format].quality
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}; it must lie in 1..100")
    _check_encodable(image, PHOTO_FORMATS[format])
    pixels = np.ascontiguousarray(image)
    if format == "png":
        return encode_png(pixels)
    if format == "jpeg":
        jpeg = simplejpeg.encode_jpeg(pixels, quality, colorspace="RGB", colorsubsampling="420")
        return bytes(jpeg)
    return _encode_webp(pixels, quality)


def photo_format(path: str | Path) -> FormatName:
    """Tell the format from a file name's suffix; raises ValueError for one we don't write."""
    suffix = Path(path).suffix.lower()
    for entry in PHOTO_FORMATS.values():
        if suffix in entry.suffixes:
            return entry.name
    known = ", ".join(ending for entry in PHOTO_FORMATS.values() for ending in entry.suffixes)
    raise ValueError(f"{path}: cannot tell the image format from {suffix!r}; use {known}")


def write_photo(path: str | Path, image: NDArray[np.uint8], quality: int = 95) -> None:
    """Write an (H, W, 3) uint8 RGB image in the format of the suffix, whole or not at all.

    Raises ValueError as ``encode_photo`` and ``photo_format`` do, and OSError.
    """
    path = Path(path)
    data = encode_photo(image, photo_format(path), quality)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    # In the same folder, so that the rename is atomic.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _check_encodable(image: NDArray[np.uint8], target: PhotoFormat) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"a photograph is a uint8 array (H, W, 3); got {image.dtype} of shape {image.shape}"
        )
    height, width, _ = image.shape
    if max(height, width) > target.max_side:
        raise ValueError(
            f"{width}x{height} pixels do not fit into {target.name}, whose sides end at "
            f"{target.max_side}; choose png"
        )


def _encode_webp(image: NDArray[np.uint8], quality: int) -> bytes:
    stream = io.BytesIO()
    # Method 0 is the fastest; the slower ones save a tenth of the bytes at several times the cost.
    Image.fromarray(image).save(stream, "WEBP", quality=quality, method=0)
    return stream.getvalue()


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scaling
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        image = opaque
    return np.array(image.convert("RGB"))
