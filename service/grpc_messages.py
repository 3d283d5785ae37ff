"""Between the messages of ``hdsynth.v1`` and the service's own terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, cast

from hdsynth.v1 import synthesis_pb2 as pb

from model.classes import Classes
from model.styles import Between, StyleChoice
from model.styles import Style as OwnStyle
from service.errors import ServiceError
from service.jobs import ElementType, Job, MapData, MapEncoding, OutputFormat, Photo
from service.schemas import MAX_SEED, ModelDescription

T = TypeVar("T")

_ENCODINGS: dict[int, MapEncoding] = {
    pb.MAP_ENCODING_UNSPECIFIED: "file",
    pb.MAP_ENCODING_FILE: "file",
    pb.MAP_ENCODING_RAW: "raw",
    pb.MAP_ENCODING_RAW_ZLIB: "raw_zlib",
}
_ELEMENT_TYPES: dict[int, ElementType] = {
    pb.ELEMENT_TYPE_UNSPECIFIED: "uint8",
    pb.ELEMENT_TYPE_UINT8: "uint8",
    pb.ELEMENT_TYPE_UINT16: "uint16",
    pb.ELEMENT_TYPE_INT32: "int32",
}
_FORMATS: dict[int, OutputFormat] = {
    pb.IMAGE_FORMAT_PNG: "png",
    pb.IMAGE_FORMAT_JPEG: "jpeg",
    pb.IMAGE_FORMAT_WEBP: "webp",
    pb.IMAGE_FORMAT_RAW: "raw",
}
_FORMAT_VALUES = {name: cast("pb.ImageFormat", value) for value, name in _FORMATS.items()}


def job_of(request: pb.SynthesizeRequest, classes: Classes, deadline: float | None) -> Job:
    """Read a request; ``deadline`` is in ``time.monotonic()``.

    Raises ServiceError MISSING_FIELD, INVALID_FIELD or CLASS_NOT_FOUND.
    """
    if not request.HasField("label"):
        raise ServiceError.at(["label"], "MISSING_FIELD", "label: is missing from the request")
    return Job(
        label=map_data(request.label, "label"),
        instance=map_data(request.instance, "instance") if request.HasField("instance") else None,
        choice=style_choice(request.styles, classes),
        style_photo=request.style_photo or None,
        format=image_format(request.format, default="png"),
        quality=quality_of(request.quality),
        deadline=deadline,
        min_faithfulness=_min_faithfulness(request),
    )


def _min_faithfulness(request: pb.SynthesizeRequest) -> float | None:
    if not request.HasField("min_faithfulness"):
        return None
    if not 0 <= request.min_faithfulness <= 1:
        raise _invalid(["min_faithfulness"], f"is 0 to 1, not {request.min_faithfulness:g}")
    return request.min_faithfulness


def map_data(given: pb.Map, name: str) -> MapData:
    """Read a map. Raises ServiceError INVALID_FIELD."""
    encoding = _known(_ENCODINGS, given.encoding, name, "encoding")
    element_type = _known(_ELEMENT_TYPES, given.element_type, name, "element_type")
    return MapData(given.data, encoding, element_type, given.width, given.height)


def image_format(value: int, default: OutputFormat) -> OutputFormat:
    """Read an ImageFormat. Raises ServiceError INVALID_FIELD."""
    formats = {pb.IMAGE_FORMAT_UNSPECIFIED: default, **_FORMATS}
    return _known(formats, value, "format")


def quality_of(value: int) -> int | None:
    """Read a quality; 0 = the format's default. Raises ServiceError INVALID_FIELD."""
    if value > 100:
        raise _invalid(["quality"], f"is 1 to 100, or 0 for the format's default, not {value}")
    return value or None


def style_choice(styles: pb.Styles, classes: Classes) -> StyleChoice:
    """Read which style every object gets. Raises ServiceError INVALID_FIELD, CLASS_NOT_FOUND."""
    if styles.seed > MAX_SEED:
        raise _invalid(["options", "seed"], f"is at most {MAX_SEED}, not {styles.seed}")
    for label in styles.classes:
        if label >= len(classes):
            raise ServiceError.at(
                ["options", "classes", label],
                "CLASS_NOT_FOUND",
                f"styles: classes name label id {label}; there are 0 to {len(classes) - 1}",
            )
    return StyleChoice(
        styles.seed,
        {key: _wish(style, ["instances", key]) for key, style in styles.instances.items()},
        {key: _wish(style, ["classes", key]) for key, style in styles.classes.items()},
    )


def photo_message(photo: Photo) -> pb.Photo:
    """Write a photograph."""
    return pb.Photo(
        format=_FORMAT_VALUES[photo.format],
        width=photo.width,
        height=photo.height,
        data=photo.data,
    )


def stage_seconds(times: Mapping[str, float]) -> pb.StageSeconds:
    """Write the seconds of each stage; stages that did not run took none."""
    return pb.StageSeconds(**times)


def model_message(model: ModelDescription) -> pb.Model:
    """Describe a model."""
    return pb.Model(
        name=model.name,
        version=model.version,
        engine=model.engine,
        classes=[
            pb.ModelClass(
                id=entry.id,
                name=entry.name,
                colour=int.from_bytes(bytes(entry.colour), "big"),
                styles=entry.styles,
            )
            for entry in model.classes
        ],
        ignore_labels=model.ignore_labels,
        max_pixels=model.size.max_pixels,
        size_multiple=model.size.multiple,
        style_channels=model.style_channels,
    )


def _wish(style: pb.Style, path: list[str | int]) -> OwnStyle | Between:
    if style.WhichOneof("kind") != "between":
        return _plain(style, path)
    between = style.between
    first, second = _plain(between.first, path), _plain(between.second, path)
    try:
        return Between(first, second, between.at)
    except ValueError as error:
        raise _invalid(["options", *path], str(error)) from error


def _plain(style: pb.Style, path: list[str | int]) -> OwnStyle:
    match style.WhichOneof("kind"):
        case "cluster":
            return style.cluster
        case "code":
            return tuple(style.code.values)
    raise _invalid(["options", *path], "is a cluster number, a code, or a place between two such")


def _known(values: Mapping[int, T], value: int, *path: str) -> T:
    # Enums are open: a client made from newer messages may send values that have no name here.
    if value not in values:
        raise _invalid([*path], f"is {value}, which this server does not know")
    return values[value]


def _invalid(path: list[str | int], detail: str) -> ServiceError:
    name = ".".join(map(str, ["styles", *path[1:]] if path[0] == "options" else path))
    return ServiceError.at(path, "INVALID_FIELD", f"{name}: {detail}")
