"""What one caller wants, in the terms of every face of the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from model.image_io import FormatName
from model.styles import StyleChoice

MapEncoding = Literal["file", "raw", "raw_zlib"]
ElementType = Literal["uint8", "uint16", "int32"]
OutputFormat = FormatName | Literal["raw"]
"""``raw`` is (H, W, 3) uint8 RGB without a header."""


class Lane(StrEnum):
    """Kinds of work that wait in queues of their own, so that none starves another."""

    INTERACTIVE = "interactive"
    STREAM = "stream"
    BULK = "bulk"


@dataclass(frozen=True)
class MapData:
    """A label map or an instance map as it came in."""

    data: bytes
    encoding: MapEncoding = "file"
    """``file`` = PNG and the like; ``raw`` = rows without padding, little-endian; or deflated."""
    element_type: ElementType = "uint8"
    """Raw maps only, like the size."""
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Job:
    """One photograph to be made."""

    label: MapData
    instance: MapData | None = None
    choice: StyleChoice = field(default_factory=StyleChoice)
    format: OutputFormat = "png"
    quality: int | None = None
    """1..100 for JPEG and WebP; None = the format's default."""
    lane: Lane = Lane.INTERACTIVE
    deadline: float | None = None
    """``time.monotonic()`` at which the caller stops waiting; None = never."""
    style_photo: bytes | None = None
    """Photograph of the same layout, a file, whose styles objects get that none is chosen for."""
    min_faithfulness: float | None = None
    """Score, 0..1, below which the photograph is refused; None = it is not scored."""


@dataclass(frozen=True)
class Photo:
    """The photograph that was made of a job."""

    data: bytes
    format: OutputFormat
    width: int
    height: int
    faithfulness: float | None = None
    """How well it shows its layout, 0..1; None = not scored: see ``service.judge``."""
