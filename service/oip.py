"""The Open Inference Protocol v2, for its REST and its gRPC face alike.

| tensor        | datatype             | shape               | meaning                          |
|---------------|----------------------|---------------------|----------------------------------|
| `label`       | UINT8, UINT16        | [H, W] or [N, H, W] | class ids                        |
|               | BYTES                | [N]                 | label map files                  |
| `instance`    | UINT8, UINT16, INT32 | as `label`          | object ids; optional             |
|               | BYTES                | [N]                 | instance map files               |
| `seed`        | INT64                | [1] or [N]          | goes before the one in `options` |
| `options`     | BYTES                | [1] or [N]          | JSON as the options of REST      |
| `style_photo` | BYTES                | [1] or [N]          | photographs to take styles from  |
| `image`       | UINT8                | [N, H, W, 3]        | the photographs                  |
|               | BYTES                | [N]                 | likewise, as files               |

Parameters of a request: `seed`, as the input; `format`, one of raw (the default), png, jpeg and
webp, of which all but raw make `image` BYTES; `timeout` in microseconds.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.errors import ServiceError
from service.jobs import Job, Photo
from service.pipeline import Pipeline, StageTimes

MAX_BATCH = 64
"""Largest N, so that a request of tiny maps cannot fill the queue."""
EXTENSIONS = ("binary_tensor_data",)
PLATFORM = "hdsynth"

Parameter = bool | int | float | str


@dataclass(frozen=True)
class TensorDescription:
    """What a tensor is like; -1 in a shape stands for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


INPUTS = (
    TensorDescription("label", "UINT8", (-1, -1, -1)),
    TensorDescription("instance", "INT32", (-1, -1, -1)),
    TensorDescription("seed", "INT64", (-1,)),
    TensorDescription("options", "BYTES", (-1,)),
    TensorDescription("style_photo", "BYTES", (-1,)),
)
OUTPUTS = (TensorDescription("image", "UINT8", (-1, -1, -1, 3)),)


@dataclass(frozen=True)
class Tensor:
    """An input or an output."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes = b""
    """Little-endian elements, row by row; empty for BYTES."""
    items: tuple[bytes, ...] = ()
    """The elements of BYTES."""


@dataclass(frozen=True)
class InferRequest:
    """One batch to synthesise."""

    inputs: Sequence[Tensor]
    parameters: Mapping[str, Parameter]
    outputs: Sequence[str]
    """Names of the outputs wanted; none = all."""


async def run_jobs(pipeline: Pipeline, jobs: Sequence[Job], times: StageTimes) -> Tensor:
    """Synthesise a batch as one output; fills ``times`` with the stages of its first element.

    Raises ServiceError; the other jobs are then cancelled.
    """
    every = [times, *({} for _ in jobs[1:])]
    synthesize = pipeline.synthesize
    tasks = [asyncio.create_task(synthesize(*each)) for each in zip(jobs, every, strict=True)]
    try:
        return image_tensor(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def image_tensor(photos: Sequence[Photo]) -> Tensor:
    """Lay photographs of one size, or files, together as the output."""
    first = photos[0]
    if first.format != "raw":
        return Tensor("image", "BYTES", (len(photos),), items=tuple(photo.data for photo in photos))
    # Files of different sizes make labels of different sizes, which no tensor can hold.
    if any((photo.height, photo.width) != (first.height, first.width) for photo in photos):
        raise invalid("label", "has maps of several sizes; give a format, such as png")
    shape = (len(photos), first.height, first.width, 3)
    return Tensor("image", "UINT8", shape, b"".join(photo.data for photo in photos))


def pack_bytes(items: Sequence[bytes]) -> bytes:
    """Write BYTES elements as they travel: each behind its length in 4 bytes."""
    return b"".join(part for item in items for part in (struct.pack("<I", len(item)), item))


def unpack_bytes(data: bytes, name: str) -> tuple[bytes, ...]:
    """Read BYTES elements. Raises ServiceError INVALID_FIELD."""
    items, start = [], 0
    while start < len(data):
        end = start + 4 + int.from_bytes(data[start : start + 4], "little")
        if end > len(data) or start + 4 > len(data):
            raise invalid(name, f"its element at byte {start} is cut off")
        items.append(data[start + 4 : end])
        start = end
        if len(items) > MAX_BATCH:
            raise invalid(name, f"has more than {MAX_BATCH} elements")
    return tuple(items)


def invalid(name: str, detail: str) -> ServiceError:
    """Make the error of a tensor or a parameter."""
    return ServiceError.at([name], "INVALID_FIELD", f"{name}: {detail}")
