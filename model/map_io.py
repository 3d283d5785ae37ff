"""Read label maps and instance maps: ids exactly as stored, never colours or scaled greys.

| map      | formats                                                                        |
|----------|--------------------------------------------------------------------------------|
| label    | PNG with one channel: grey of 1-16 bits, or palette (the indices are the ids)  |
| instance | the same; for ids above 65535 an uncompressed TIFF or a NumPy .npy file        |
"""

from __future__ import annotations

import io
import tokenize
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from model.errors import MapError
from model.image_checks import check_pixels, decoding_errors, require_format
from model.png_reader import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    inflated,
    read_png_header,
)

FILE_MAX_PIXELS = 1 << 28
"""Limit for files of the user's own, 16384x16384 pixels."""

_LABEL_RULE = "a label map must be a PNG file (8- or 16-bit grey, or palette)"
_INSTANCE_RULE = (
    "an instance map must be a PNG file (8- or 16-bit grey, or palette), or for 32-bit ids "
    "an uncompressed TIFF or a .npy file"
)
_COLOURS = {RGB: "RGB", RGBA: "RGBA", GREY_ALPHA: "grey with alpha"}
# TIFF tags and values (TIFF 6.0, section 8).
_BITS, _COMPRESSION, _PHOTOMETRIC, _CHANNELS, _SAMPLE_FORMAT = 258, 259, 262, 277, 339
# Pillow decodes these itself; compressed ones would open libtiff to whoever can upload.
_UNCOMPRESSED = 1
_BLACK_IS_ZERO, _TIFF_PALETTE = 1, 3
_INTEGERS: dict[tuple[int, int], type[np.integer]] = {
    (8, 1): np.uint8,  # (bits, sample format: 1 unsigned, 2 signed)
    (16, 1): np.uint16,
    (32, 1): np.uint32,
    (32, 2): np.int32,
}


def decode_label_map(
    data: bytes, *, max_pixels: int, name: str = "label"
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode a label map: (H, W) class ids, uint8, or uint16 from a 16-bit PNG.

    ``name`` begins every message. Raises MapError EMPTY_UPLOAD, UNSUPPORTED_FORMAT,
    INVALID_IMAGE, IMAGE_TOO_LARGE, COLOUR_MAP or MULTIPLE_FRAMES.
    """
    require_format(data, ("PNG",), name, _LABEL_RULE)
    return _decode_png(data, max_pixels, name)


def decode_instance_map(
    data: bytes, *, max_pixels: int, name: str = "instance"
) -> NDArray[np.int32]:
    """Decode an instance map: (H, W) int32 ids.

    Raises the errors of ``decode_label_map``, and MapError INSTANCE_OUT_OF_RANGE for an id that
    int32 cannot hold.
    """
    found = require_format(data, ("PNG", "TIFF", "NPY"), name, _INSTANCE_RULE)
    decode = {"PNG": _decode_png, "TIFF": _decode_tiff, "NPY": _decode_npy}[found]
    return _to_int32(decode(data, max_pixels, name), name)


def read_label_map(path: str | Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Read a label map from a file; see ``decode_label_map``. Messages name the file."""
    return decode_label_map(Path(path).read_bytes(), max_pixels=FILE_MAX_PIXELS, name=str(path))


def read_instance_map(path: str | Path) -> NDArray[np.int32]:
    """Read an instance map from a file; see ``decode_instance_map``. Messages name the file."""
    return decode_instance_map(Path(path).read_bytes(), max_pixels=FILE_MAX_PIXELS, name=str(path))


def _decode_png(data: bytes, max_pixels: int, name: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    header = read_png_header(data, max_pixels, name)
    if header.colour_type not in (GREY, PALETTE):
        raise _colour_error(f"{_COLOURS[header.colour_type]} PNG", name)
    plain = inflated(data, header, name)
    with decoding_errors(name):
        # Opened directly: Image.open would warn above a limit of its own.
        pixels = np.array(PngImageFile(io.BytesIO(plain)))
    if header.depth == 16:
        return pixels.astype(np.uint16, copy=False)
    ids = pixels.astype(np.uint8, copy=False)
    if header.colour_type == GREY and header.depth in (2, 4):
        ids //= 255 // (2**header.depth - 1)  # Pillow spreads these greys over 0..255
    return ids


def _decode_tiff(data: bytes, max_pixels: int, name: str) -> NDArray[np.integer]:
    with decoding_errors(name):
        image = TiffImageFile(io.BytesIO(data))
        check_pixels(*image.size, max_pixels, name)
        dtype = _tiff_dtype(image, name)
        pixels = np.array(image)
    # Pillow reads unsigned 32-bit integers as signed ones.
    return pixels.view(dtype) if dtype == np.uint32 else pixels.astype(dtype, copy=False)


def _tiff_dtype(image: TiffImageFile, name: str) -> type[np.integer]:
    """Return the type of the ids in a TIFF file after checking that it stores ids."""
    tags = image.tag_v2
    if tags.get(_CHANNELS, 1) != 1:
        raise _colour_error(f"TIFF of {tags[_CHANNELS]} channels", name)
    bits, sample_format = tags.get(_BITS, (1,))[0], tags.get(_SAMPLE_FORMAT, (1,))[0]
    dtype = _INTEGERS.get((bits, sample_format))
    if (
        dtype is None
        or tags.get(_PHOTOMETRIC) not in (_BLACK_IS_ZERO, _TIFF_PALETTE)
        or tags.get(_COMPRESSION, 1) != _UNCOMPRESSED
    ):
        raise MapError(
            "UNSUPPORTED_FORMAT",
            f"{name}: is a TIFF of {bits} bits (sample format {sample_format}, photometric "
            f"{tags.get(_PHOTOMETRIC)}, compression {tags.get(_COMPRESSION, 1)}); save it as "
            "uncompressed integers of 8, 16 or 32 bits (black is zero), or as .npy",
        )
    try:
        image.seek(1)
    except EOFError:
        return dtype
    raise MapError("MULTIPLE_FRAMES", f"{name}: is a TIFF of several pages; send a single image")


def _decode_npy(data: bytes, max_pixels: int, name: str) -> NDArray[np.integer]:
    """Read the array without numpy.load, which would allocate whatever the header claims."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(stream)
    except (KeyError, ValueError, SyntaxError, tokenize.TokenError) as error:
        raise MapError("INVALID_IMAGE", f"{name}: has no valid .npy header: {error}") from error
    if len(shape) != 2 or min(shape) < 1 or dtype.kind not in "iu":
        raise MapError(
            "UNSUPPORTED_FORMAT",
            f"{name}: holds {dtype} of shape {shape}; an instance map has integers (H, W)",
        )
    check_pixels(shape[1], shape[0], max_pixels, name)
    needed, given = shape[0] * shape[1] * dtype.itemsize, len(data) - stream.tell()
    if given != needed:
        raise MapError(
            "INVALID_IMAGE",
            f"{name}: {shape[1]}x{shape[0]} ids of {dtype} need {needed} bytes, but {given} follow",
        )
    ids = np.frombuffer(data, dtype, offset=stream.tell())
    return ids.reshape(shape, order="F" if fortran else "C")


def _to_int32(ids: NDArray[np.integer], name: str) -> NDArray[np.int32]:
    if ids.dtype in (np.uint8, np.uint16):
        return ids.astype(np.int32, order="C")
    limits = np.iinfo(np.int32)
    for value in (int(ids.min()), int(ids.max())):
        if not limits.min <= value <= limits.max:
            row, column = np.argwhere(ids == value)[0]
            raise MapError(
                "INSTANCE_OUT_OF_RANGE",
                f"{name}: id {value} at x={column}, y={row} does not fit into 32 bits with sign; "
                f"number the instances below {limits.max + 1}",
            )
    return np.array(ids, np.int32, order="C")


def _colour_error(what: str, name: str) -> MapError:
    return MapError(
        "COLOUR_MAP",
        f"{name}: is a {what}; a map has one channel that holds ids, not colours. "
        "If each colour stands for an id, replace it by that id (numpy: "
        "ids[(pixels == colour).all(-1)] = id) and save the ids as 8- or 16-bit grey PNG; "
        "if every channel already holds the id, save the first one alone",
    )
