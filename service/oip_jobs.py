"""From the tensors of an inference request to jobs; `service.oip` says what each tensor means."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from pydantic import ValidationError

from model.classes import Classes
from model.styles import StyleChoice
from service.errors import ServiceError
from service.jobs import ElementType, Job, MapData, OutputFormat
from service.oip import MAX_BATCH, InferRequest, Parameter, Tensor, invalid
from service.problem import validation_error
from service.schemas import MAX_OPTIONS_BYTES, MAX_SEED, SynthesisOptions

T = TypeVar("T")

_SIZES = {"UINT8": 1, "UINT16": 2, "INT32": 4, "INT64": 8}
_ELEMENT_TYPES: dict[str, ElementType] = {"UINT8": "uint8", "UINT16": "uint16", "INT32": "int32"}
_DATATYPES = {
    "label": ("UINT8", "UINT16", "BYTES"),
    "instance": ("UINT8", "UINT16", "INT32", "BYTES"),
    "seed": ("INT64",),
    "options": ("BYTES",),
    "style_photo": ("BYTES",),
}
_FORMATS: tuple[OutputFormat, ...] = ("raw", "png", "jpeg", "webp")
_PARAMETERS = ("seed", "format", "timeout")


def jobs_of(request: InferRequest, classes: Classes, deadline: float | None) -> list[Job]:
    """Make a job of every element of the batch; ``deadline`` is in ``time.monotonic()``.

    Raises ServiceError MISSING_FIELD, INVALID_FIELD, INVALID_OPTIONS or CLASS_NOT_FOUND.
    """
    _check_names(request)
    tensors = _by_name(request.inputs)
    labels = _maps(tensors["label"])
    count = len(labels)
    instances: list[MapData] | list[None] = [None] * count
    if "instance" in tensors:
        instances = _maps(tensors["instance"])
    if len(instances) != count:
        raise invalid("instance", f"has {len(instances)} maps, but label has {count}")
    format_ = _format(request.parameters)
    deadline = _earlier(deadline, request.parameters)
    options = _all_options(tensors, count)
    seeds = _seeds(tensors, request.parameters, count)
    style_photos: Sequence[bytes | None] = [None] * count
    if "style_photo" in tensors:
        style_photos = _spread([*tensors["style_photo"].items], count, "style_photo")
    return [
        Job(
            label,
            instance,
            _choice(entry, seed, classes),
            format=format_,
            quality=entry.quality,
            deadline=deadline,
            style_photo=style_photo,
        )
        for label, instance, entry, seed, style_photo in zip(
            labels, instances, options, seeds, style_photos, strict=True
        )
    ]


def _check_names(request: InferRequest) -> None:
    for name in request.outputs:
        if name != "image":
            raise invalid("outputs", f"{name[:100]!r} is not made; there is only 'image'")
    for name in request.parameters:
        if name not in _PARAMETERS:
            raise invalid("parameters", f"{name[:100]!r} is none of {', '.join(_PARAMETERS)}")


def _by_name(inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for tensor in inputs:
        name = tensor.name
        if name not in _DATATYPES:
            raise invalid("inputs", f"{name[:100]!r} is none of {', '.join(_DATATYPES)}")
        if name in tensors:
            raise invalid(name, "is there more than once")
        if tensor.datatype not in _DATATYPES[name]:
            known = ", ".join(_DATATYPES[name])
            raise invalid(name, f"its datatype is {known}, not {tensor.datatype[:20]!r}")
        _check_size(tensor)
        tensors[name] = tensor
    if "label" not in tensors:
        raise ServiceError.at(["label"], "MISSING_FIELD", "label: is missing from the inputs")
    return tensors


def _check_size(tensor: Tensor) -> None:
    name, shape = tensor.name, tensor.shape
    ranks = (2, 3) if name in {"label", "instance"} and tensor.datatype != "BYTES" else (1,)
    if len(shape) not in ranks or min(shape) < 1:
        wanted = "[H, W] or [N, H, W]" if ranks == (2, 3) else "[1] or [N]"
        raise invalid(name, f"its shape is {wanted}, not {list(shape)[:8]}")
    if len(shape) != 2 and shape[0] > MAX_BATCH:
        raise invalid(name, f"its first size is {shape[0]}; a batch has at most {MAX_BATCH}")
    needed = math.prod(shape) * _SIZES.get(tensor.datatype, 1)
    given = len(tensor.items if tensor.datatype == "BYTES" else tensor.data)
    if given != needed:
        unit = "elements" if tensor.datatype == "BYTES" else "bytes"
        raise invalid(name, f"{list(shape)} of {tensor.datatype} is {needed} {unit}, not {given}")


def _maps(tensor: Tensor) -> list[MapData]:
    if tensor.datatype == "BYTES":
        return [MapData(item) for item in tensor.items]
    height, width = tensor.shape[-2:]
    size = height * width * _SIZES[tensor.datatype]
    return [
        MapData(tensor.data[at : at + size], "raw", _ELEMENT_TYPES[tensor.datatype], width, height)
        for at in range(0, len(tensor.data), size)
    ]


def _format(parameters: Mapping[str, Parameter]) -> OutputFormat:
    wanted = parameters.get("format", "raw")
    for known in _FORMATS:
        if wanted == known:
            return known
    raise invalid("format", f"is one of {', '.join(_FORMATS)}, not {str(wanted)[:100]!r}")


def _choice(options: SynthesisOptions, seed: int | None, classes: Classes) -> StyleChoice:
    choice = options.choice(classes)
    return choice if seed is None else replace(choice, seed=seed)


def _all_options(tensors: Mapping[str, Tensor], count: int) -> list[SynthesisOptions]:
    if "options" not in tensors:
        return [SynthesisOptions()] * count
    return _spread([_options(text) for text in tensors["options"].items], count, "options")


def _options(text: bytes) -> SynthesisOptions:
    if len(text) > MAX_OPTIONS_BYTES:
        raise invalid("options", f"an element has more than {MAX_OPTIONS_BYTES} bytes")
    try:
        return SynthesisOptions.model_validate_json(text)
    except ValidationError as error:
        faults = [fault | {"loc": ("body", "options", *fault["loc"])} for fault in error.errors()]
        raise validation_error(faults) from error


def _seeds(
    tensors: Mapping[str, Tensor], parameters: Mapping[str, Parameter], count: int
) -> Sequence[int | None]:
    if "seed" in tensors:
        given: list[int] = np.frombuffer(tensors["seed"].data, "<i8").tolist()
    elif "seed" in parameters:
        given = [_whole(parameters, "seed")]
    else:
        return [None] * count
    for seed in given:
        if not 0 <= seed <= MAX_SEED:
            raise invalid("seed", f"is 0 to {MAX_SEED}, not {seed}")
    return _spread(given, count, "seed")


def _earlier(deadline: float | None, parameters: Mapping[str, Parameter]) -> float | None:
    if "timeout" not in parameters:
        return deadline
    microseconds = _whole(parameters, "timeout")
    if microseconds < 1:
        raise invalid("timeout", f"is at least one microsecond, not {microseconds}")
    ours = time.monotonic() + microseconds / 1e6
    return ours if deadline is None else min(ours, deadline)


def _whole(parameters: Mapping[str, Parameter], name: str) -> int:
    value = parameters[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(name, f"is a whole number, not {str(value)[:100]!r}")
    return value


def _spread(values: list[T], count: int, name: str) -> list[T]:
    """Use a single value for the whole batch."""
    if len(values) not in (1, count):
        raise invalid(name, f"has {len(values)} elements; send one for all or {count}")
    return values * count if len(values) == 1 else values
