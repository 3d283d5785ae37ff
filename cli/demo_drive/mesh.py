"""Flat polygons that know their class and their object, and the colours that encode both.

An engine may round colours: every code stands in the middle of an interval of levels that all mean
the same, and a colour between two intervals is an error, not a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from panda3d.core import GeomNode

Point = tuple[float, float, float]
"""Metres: x to the right of the street's middle, y along it, z up."""

STEP = 8
"""Grey levels from one code to the next."""
BASE = 256 // STEP
MAX_INSTANCE = BASE**3 - 1
TOLERANCE = 2
"""Levels by which a colour may be off."""

Colour = tuple[int, int, int]


def label_colour(label: int) -> Colour:
    """Encode a label id, 0..31, as a colour (0..255)."""
    return instance_colour(label)


def instance_colour(instance: int) -> Colour:
    """Encode an instance id, 0..32767, as a colour (0..255): its digits to base 32."""
    assert 0 <= instance <= MAX_INSTANCE, instance
    digits = (instance % BASE, instance // BASE % BASE, instance // BASE**2)
    red, green, blue = (digit * STEP + STEP // 2 for digit in digits)
    return red, green, blue


def decode(picture: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Read the ids (H, W) of a picture (H, W, 3).

    Raises RuntimeError if a colour is none of the codes': the picture was smoothed.
    """
    digits, rest = np.divmod(picture.astype(np.uint16), STEP)
    off = np.abs(rest.astype(np.int16) - STEP // 2)
    if (off > TOLERANCE).any():
        y, x = np.argwhere((off > TOLERANCE).any(2))[0].tolist()
        raise RuntimeError(
            f"the colour {tuple(picture[y, x].tolist())} at x={x}, y={y} is no code: switch "
            "antialiasing, dithering and colour management off"
        )
    ids: NDArray[np.uint16] = (digits @ np.array([1, BASE, BASE**2], np.uint16)).astype(np.uint16)
    return ids


@dataclass
class Mesh:
    """Polygons under construction."""

    polygons: list[tuple[Sequence[Point], int, int]] = field(default_factory=list)
    """Corners of a convex polygon, label and instance."""

    def add(self, label: int, instance: int, *polygons: Sequence[Point]) -> None:
        """Add polygons of one object."""
        self.polygons += [(corners, label, instance) for corners in polygons]

    def node(self, name: str, of_instances: bool) -> GeomNode:
        """Return the polygons in the colours of their labels, or of their instances."""
        from panda3d.core import (
            Geom,
            GeomNode,
            GeomTriangles,
            GeomVertexData,
            GeomVertexFormat,
            GeomVertexWriter,
        )

        data = GeomVertexData(name, GeomVertexFormat.getV3c4(), Geom.UHStatic)
        places, colours = GeomVertexWriter(data, "vertex"), GeomVertexWriter(data, "color")
        triangles, count = GeomTriangles(Geom.UHStatic), 0
        for corners, label, instance in self.polygons:
            code = instance_colour(instance) if of_instances else label_colour(label)
            for corner in corners:
                places.addData3(*corner)
                colours.addData4(*(level / 255 for level in code), 1.0)
            for last in range(2, len(corners)):
                triangles.addVertices(count, count + last - 1, count + last)
            count += len(corners)
        geom = Geom(data)
        geom.addPrimitive(triangles)
        node = GeomNode(name)
        node.addGeom(geom)
        return node


def box(
    x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]
) -> list[list[Point]]:
    """Return the four sides and the top of a box."""
    (x0, x1), (y0, y1), (z0, z1) = x, y, z
    return [
        [(x0, y0, z0), (x0, y1, z0), (x0, y1, z1), (x0, y0, z1)],
        [(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)],
        [(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)],
        [(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)],
        [(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)],
    ]
