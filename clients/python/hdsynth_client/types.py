"""What goes in and what comes out, the same over REST and gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Map = bytes | NDArray[np.integer[Any]]
"""A map as a file's bytes (PNG), or (H, W) ids as an array."""
Format = Literal["png", "jpeg", "webp", "raw"]

ELEMENT_TYPES: dict[np.dtype[Any], str] = {
    np.dtype("u1"): "uint8",
    np.dtype("<u2"): "uint16",
    np.dtype("<i4"): "int32",
}


@dataclass(frozen=True)
class Between:
    """A place between two styles."""

    first: int | tuple[float, ...]
    second: int | tuple[float, ...]
    at: float
    """0 = first, 1 = second."""


Style = int | tuple[float, ...] | Between
"""Number of one of the class's styles, a style code, or a place between two of them."""


@dataclass(frozen=True)
class Styles:
    """Which style every object gets."""

    seed: int = 0
    """Chooses a style for every object not named below."""
    instances: Mapping[int, Style] = field(default_factory=dict)
    """By instance id."""
    classes: Mapping[int, Style] = field(default_factory=dict)
    """By label id, for objects that ``instances`` leaves out."""


@dataclass(frozen=True)
class Photo:
    """A photograph as the server sent it."""

    data: bytes
    format: Format
    width: int | None = None
    """Pixels; known for ``raw``, and always over gRPC."""
    height: int | None = None
    model_version: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each stage on the server: decode, queue, infer, encode."""
    faithfulness: float | None = None
    """How well it shows its layout, 0..1; None without ``min_faithfulness``, or with no class."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of a ``raw`` photograph. Raises ValueError for a file."""
        if self.format != "raw" or self.width is None or self.height is None:
            raise ValueError(f"the photograph is a {self.format} file; ask for format='raw'")
        return np.frombuffer(self.data, np.uint8).reshape(self.height, self.width, 3)


@dataclass(frozen=True)
class ModelClass:
    """One class of a label map."""

    id: int
    name: str
    colour: tuple[int, int, int]
    styles: int
    """How many styles there are to choose from."""


@dataclass(frozen=True)
class Model:
    """A model being served."""

    name: str
    version: str
    engine: str
    classes: tuple[ModelClass, ...]
    max_pixels: int
    style_channels: int


def as_plane(array: NDArray[np.integer[Any]], name: str) -> NDArray[np.integer[Any]]:
    """Return (H, W) ids in one of the wire's element types: uint8, uint16 or int32.

    Raises ValueError for another shape and for ids that do not fit.
    """
    if array.ndim != 2 or not array.size or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: shape {array.shape} of {array.dtype}; a map is (height, width) of integers"
        )
    if array.dtype in ELEMENT_TYPES:
        return np.ascontiguousarray(array)
    low, high = int(array.min()), int(array.max())
    for kind in ELEMENT_TYPES:
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return np.ascontiguousarray(array.astype(kind))
    raise ValueError(f"{name}: ids from {low} to {high} do not fit into 32 bits")
