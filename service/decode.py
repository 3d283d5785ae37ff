"""From what came in to a checked scene: the only place that looks inside a caller's bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from model.bundle import Bundle
from model.codec import legal_size
from model.errors import MapError
from model.image_checks import check_pixels
from model.image_io import PHOTO_FORMATS, decode_instance_map, decode_label_map, decode_source
from model.png_reader import read_png_header
from model.spec import InputSpec
from service.errors import ServiceError
from service.jobs import Job, MapData, OutputFormat
from service.synthesizer import Scene, prepare_scene

SMALL_PIXELS = 1 << 16
"""Scenes up to here are read in a millisecond or two. To hand that to a thread and to wait for the
interpreter's lock there takes longer, when many do it at once."""
_SMALL_PLANE = 4 * SMALL_PIXELS
_SMALL_FILE = SMALL_PIXELS // 2
"""Bytes; a larger file may be made of thousands of chunks, which take longer than their pixels."""
_FEW_STYLES = 100
"""Of single instances; each is looked up by itself."""

_ELEMENTS: dict[str, np.dtype[np.integer]] = {
    "uint8": np.dtype("u1"),
    "uint16": np.dtype("<u2"),
    "int32": np.dtype("<i4"),
}

# Which field is at fault when the maps have been read and only the scene is wrong.
_FIELDS = {
    "LABEL_OUT_OF_RANGE": "label",
    "INVALID_IMAGE": "label",
    "SIZE_MISMATCH": "instance",
    "STYLE_NOT_FOUND": "options",
    "STYLE_INVALID": "options",
}


def decode_scene(job: Job, bundle: Bundle, max_pixels: int) -> Scene:
    """Decode a job's maps, check them against the model and choose the styles.

    Raises ServiceError with the field at fault.
    """
    with faults_of("label"):
        label = scene_map(job.label, bundle.input, max_pixels)
    instance = None
    if job.instance is not None:
        with faults_of("instance"):
            instance = instance_map(job.instance, max_pixels)
    check_size(bundle, label.shape[1], label.shape[0], job.format, max_pixels)
    with faults_of(None):
        return prepare_scene(bundle, label, instance, job.choice)


def is_small(job: Job) -> bool:
    """Whether a job is read and its styles are chosen sooner than another thread begins to."""
    if len(job.choice.instances) > _FEW_STYLES:
        return False
    # To find the instances of a label map that comes alone takes longer than to read both.
    return job.instance is not None and all(map(_is_small, (job.label, job.instance)))


def _is_small(given: MapData) -> bool:
    # Whatever the maps' size, what is announced as one must not keep the event loop waiting.
    if len(given.data) > (_SMALL_FILE if given.encoding == "file" else _SMALL_PLANE):
        return False
    if given.encoding != "file":
        return given.width * given.height <= SMALL_PIXELS
    try:
        read_png_header(given.data, SMALL_PIXELS, "")
    except MapError:  # too large, or another kind of file
        return False
    return True


def scene_map(given: MapData, spec: InputSpec, max_pixels: int) -> NDArray[np.integer]:
    """Decode what a model starts from: a label map (H, W), or a source image (H, W, C).

    Raises MapError.
    """
    if given.encoding != "file":
        return raw_plane(given, max_pixels, "label", 0 if spec.label_count else spec.image_channels)
    if spec.label_count:
        return decode_label_map(given.data, max_pixels=max_pixels, name="label")
    return decode_source(given.data, spec.image_channels, max_pixels=max_pixels, name="label")


def instance_map(given: MapData, max_pixels: int) -> NDArray[np.int32]:
    """Decode an instance map: (H, W) int32 ids. Raises MapError."""
    if given.encoding == "file":
        return decode_instance_map(given.data, max_pixels=max_pixels, name="instance")
    return raw_plane(given, max_pixels, "instance").astype(np.int32, copy=False)


def raw_plane(given: MapData, max_pixels: int, name: str, channels: int = 0) -> NDArray[np.integer]:
    """Read a raw or deflated map in its element type: (H, W), or (H, W, channels) if not 0.

    Never inflates more than the announced size, so that a small body cannot fill the memory.
    Raises MapError EMPTY_UPLOAD, IMAGE_TOO_LARGE or INVALID_IMAGE.
    """
    width, height, element = given.width, given.height, _ELEMENTS[given.element_type]
    if not given.data:
        raise MapError("EMPTY_UPLOAD", f"{name}: holds no bytes; send the rows of the map")
    if width < 1 or height < 1:
        raise MapError("INVALID_IMAGE", f"{name}: has the size {width}x{height}; give its pixels")
    check_pixels(width, height, max_pixels, name)
    shape = (height, width, channels) if channels else (height, width)
    needed = prod(shape) * element.itemsize
    data = given.data if given.encoding == "raw" else _inflate(given.data, needed, name)
    if len(data) != needed:
        more = "more" if given.encoding == "raw_zlib" and len(data) > needed else len(data)
        raise MapError(
            "INVALID_IMAGE",
            f"{name}: {width}x{height} pixels of {given.element_type} need {needed} bytes, "
            f"but there are {more}",
        )
    return np.frombuffer(data, element).reshape(shape)


def _inflate(data: bytes, needed: int, name: str) -> bytes:
    inflater = isal_zlib.decompressobj()
    try:
        plain = inflater.decompress(data, needed + 1)
    except isal_zlib.error as error:  # type: ignore[misc]  # the stub declares an instance
        raise MapError("INVALID_IMAGE", f"{name}: is no zlib stream: {error}") from error
    if len(plain) <= needed and (not inflater.eof or inflater.unused_data):
        fault = "is followed by other bytes" if inflater.eof else "is cut off"
        raise MapError("INVALID_IMAGE", f"{name}: its zlib stream {fault}")
    return plain


def check_size(
    bundle: Bundle, width: int, height: int, format_: OutputFormat, max_pixels: int
) -> None:
    """Raise ServiceError IMAGE_TOO_LARGE if a scene fits no engine or no file of the format."""
    rule = bundle.generator
    padded = legal_size(height, width, rule.size_multiple, rule.minimum_side)
    # A line of 1x2000000 pixels is small, but padded to a legal height it is not.
    if padded[0] * padded[1] > max_pixels:
        raise ServiceError.at(
            ["label"],
            "IMAGE_TOO_LARGE",
            f"label: {width}x{height} is padded to {padded[1]}x{padded[0]} = "
            f"{padded[0] * padded[1]} pixels for this model; the limit is {max_pixels}",
        )
    if format_ != "raw" and max(width, height) > PHOTO_FORMATS[format_].max_side:
        raise ServiceError.at(
            ["label"],
            "IMAGE_TOO_LARGE",
            f"label: {width}x{height} pixels do not fit into a {format_} file, whose sides "
            f"end at {PHOTO_FORMATS[format_].max_side}; ask for image/png",
        )


@contextmanager
def faults_of(field_name: str | None) -> Iterator[None]:
    """Turn a MapError into the ServiceError of a field; None = the field that its reason blames."""
    try:
        yield
    except MapError as error:
        blamed = field_name or _FIELDS[error.reason]
        raise ServiceError.at([blamed], error.reason, str(error)) from error
