"""The parts of a drawn street: a canvas of instance ids, a camera, and what stands in the street.

Street coordinates are metres: ``u`` runs along the row of houses, ``y`` up from the ground and
``v`` away from the viewer; the house fronts stand near ``v = 0``. Corners are computed in
Python floats and rounded to whole pixels, so a seed draws the same scene on every platform.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from random import Random

import numpy as np
from PIL import Image, ImageDraw

Pixel = tuple[float, float]
Place = tuple[float, float, float]
"""A point (u, y, v) of the street, in metres."""

EYE_M = 1.6
NEAR_M = 0.8
IDS_PER_CLASS = 1000


class SceneClass(IntEnum):
    """The classes of the bundled facades model; the value is the label id."""

    UNLABELED = 0
    BALCONY_FENCE = 1
    CAR = 2
    FACADE = 3
    FENCE = 4
    NON_BUILDING_INFRASTRUCTURE = 5
    SHOP = 6
    STREET = 7
    TRAFFIC_INFRASTRUCTURE = 8
    VEGETATION = 9
    WINDOW = 10


class Canvas:
    """An instance map under construction; whatever is painted last hides what was there."""

    def __init__(self, width: int, height: int, rng: Random) -> None:
        self.width, self.height, self.rng = width, height, rng
        self.scale = math.sqrt(width * height)
        self._image = Image.new("I", (width, height), 0)
        self._pen = ImageDraw.Draw(self._image)
        self._counts = dict.fromkeys(SceneClass, 0)

    def new(self, kind: SceneClass) -> int:
        """Open an object of a class and return its instance id (class * 1000 + 1, 2, ...)."""
        self._counts[kind] += 1
        assert self._counts[kind] < IDS_PER_CLASS
        return kind * IDS_PER_CLASS + self._counts[kind]

    def fill(self, instance: int, outline: Sequence[Pixel]) -> None:
        """Paint a polygon, given in pixels, with an instance id."""
        if len(outline) > 2:
            # Whole pixels keep the raster free of rounding differences between platforms.
            points = [(round(x), round(y)) for x, y in outline]
            self._pen.polygon(points, fill=instance)

    def add(self, kind: SceneClass, outline: Sequence[Pixel]) -> None:
        """Paint a polygon as a new object, unless it lies outside the frame."""
        if self.shows(outline):
            self.fill(self.new(kind), outline)

    def shows(self, outline: Sequence[Pixel]) -> bool:
        """Whether a polygon may touch the frame (its bounding box does)."""
        if len(outline) < 3:
            return False
        x, y = zip(*outline, strict=True)
        return bool(max(x) > 0 and min(x) < self.width and max(y) > 0 and min(y) < self.height)

    def sloppy(self, outline: Sequence[Pixel], slop: float) -> list[Pixel]:
        """Move the corners of a polygon at random by up to ``slop`` of its smaller side."""
        if len(outline) < 3:
            return []
        x, y = zip(*outline, strict=True)
        size = slop * min(max(x) - min(x), max(y) - min(y), 0.2 * self.scale)
        shift = self.rng.uniform
        return [(a + shift(-size, size), b + shift(-size, size)) for a, b in outline]

    def restore(self, before: np.ndarray, kind: SceneClass) -> None:
        """Bring the objects of a class back to the front, as they were in an earlier map."""
        mask = Image.fromarray((before // IDS_PER_CLASS == kind).astype(np.uint8) * 255)
        self._image.paste(Image.fromarray(before.astype(np.int32)), mask=mask)

    def instance_map(self) -> np.ndarray:
        """Return the instance map: uint16 (H, W), 0 where nothing was painted."""
        return np.asarray(self._image).astype(np.uint16)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at eye height; ``distance`` is measured to the street point (0, 0, 0)."""

    focal_px: float
    centre: Pixel
    distance_m: float
    turn: float
    pitch: float
    roll: float

    @classmethod
    def framing(
        cls,
        frame: Pixel,
        focal_px: float,
        height_m: float,
        span: Pixel,
        aim: float,
        angles: tuple[float, float, float],
    ) -> Camera:
        """Place the camera so that the upright ``height_m`` at the origin fills ``span``.

        ``span`` is its top and bottom, ``aim`` its horizontal place, as parts of the frame;
        ``angles`` are turn, pitch and roll in radians.
        """
        turn, pitch, roll = angles
        cos, sin = math.cos(pitch), math.sin(pitch)
        top, bottom = height_m - EYE_M, -EYE_M
        # Height in the frame of an upright at distance r under a pitched camera:
        #   focal * r * height / ((r cos + top sin) (r cos + bottom sin)), solved for r.
        k = (span[1] - span[0]) * frame[1] / focal_px
        b = k * cos * sin * (top + bottom) - height_m
        c = k * sin * sin * top * bottom
        r = (-b + math.sqrt(b * b - 4 * k * cos * cos * c)) / (2 * k * cos * cos)
        foot = (bottom * cos - r * sin) / (r * cos + bottom * sin)
        centre = (aim * frame[0], span[1] * frame[1] + focal_px * foot)
        return cls(focal_px, centre, r, turn, pitch, roll)

    @property
    def place(self) -> Pixel:
        """Where the camera stands, as street coordinates (u, v)."""
        return (
            -self.distance_m * math.sin(self.turn),
            -self.distance_m * math.cos(self.turn),
        )

    def _view(self, place: Place) -> Place:
        """Turn a street point into camera axes: right, up, depth (metres)."""
        u, y, v = place
        right = u * math.cos(self.turn) - v * math.sin(self.turn)
        ahead = u * math.sin(self.turn) + v * math.cos(self.turn) + self.distance_m
        cos, sin = math.cos(self.pitch), math.sin(self.pitch)
        return right, (y - EYE_M) * cos - ahead * sin, ahead * cos + (y - EYE_M) * sin

    def _pixel(self, view: Place) -> Pixel:
        x, y = self.focal_px * view[0] / view[2], -self.focal_px * view[1] / view[2]
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        return self.centre[0] + x * cos - y * sin, self.centre[1] + x * sin + y * cos

    def depth(self, place: Place) -> float:
        """Distance of a street point along the line of sight, in metres."""
        return self._view(place)[2]

    def line(self, places: Iterable[Place]) -> list[Pixel]:
        """Project points, leaving out those behind the camera."""
        views = (self._view(place) for place in places)
        return [self._pixel(view) for view in views if view[2] > NEAR_M]

    def hull(self, places: Iterable[Place]) -> list[Pixel]:
        """Project a convex solid or face, given by its corners, to its convex outline."""
        views = [self._view(place) for place in places]
        front = [view for view in views if view[2] > NEAR_M]
        if len(front) < len(views):
            # The part in front of the camera has its new corners on lines between old ones.
            behind = [view for view in views if view[2] <= NEAR_M]
            for a in list(front):
                for b in behind:
                    t = (a[2] - NEAR_M) / (a[2] - b[2])
                    front.append((a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), NEAR_M))
        return convex_hull([self._pixel(view) for view in front])


def convex_hull(points: Iterable[Pixel]) -> list[Pixel]:
    """Return the corners of the convex hull in order (Andrew's monotone chain)."""
    ordered = sorted(set(points))

    def half(chain: Iterable[Pixel]) -> list[Pixel]:
        kept: list[Pixel] = []
        for p in chain:
            while len(kept) > 1 and (kept[-1][0] - kept[-2][0]) * (p[1] - kept[-2][1]) <= (
                kept[-1][1] - kept[-2][1]
            ) * (p[0] - kept[-2][0]):
                kept.pop()
            kept.append(p)
        return kept[:-1]

    return half(ordered) + half(reversed(ordered))


def box(u: Sequence[float], y: Sequence[float], v: Sequence[float]) -> list[Place]:
    """Return the corners of an upright block; a range of one value makes it a face."""
    return [(a, b, c) for a in u for b in y for c in v]
