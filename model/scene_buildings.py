"""Draw one building: body, roof, and the windows, balconies and shops of its visible walls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import Literal

from model.scene_parts import Camera, Canvas, Pixel, Place, SceneClass, box

Roof = Literal["flat", "attic", "gable", "hip", "mansard", "street-gable"]
WINDOW_SLOP = 0.04
OMITTED = 0.05
"""Part of the windows that an annotator overlooks."""


@dataclass(frozen=True)
class Building:
    """Where a building stands (metres, street coordinates) and how it looks."""

    u: Pixel
    v: Pixel
    storeys: int
    storey_m: float
    roof: Roof
    shop: bool
    bay_m: float
    window_m: Pixel
    """Width and height of an ordinary window."""
    arched: bool
    balconies: float
    """Chance of a balcony column in a wall."""
    parapet_m: Pixel
    """How far a balcony juts out, and how high its parapet is."""

    @property
    def height_m(self) -> float:
        """Height of the eaves."""
        return self.storeys * self.storey_m


def random_building(
    rng: Random, u: Pixel, setback_m: float, storeys: int, storey_m: float, detached: bool
) -> Building:
    """Invent a building between two places of the street."""
    roofs: tuple[Roof, ...] = ("flat", "attic", "gable", "hip", "mansard", "street-gable")
    weights = (0, 0, 3, 3, 2, 4) if detached else (5, 2, 3, 2, 3, 0.5)
    wide = rng.random() < 0.3
    return Building(
        u=u,
        v=(setback_m, setback_m + rng.uniform(9, 16)),
        storeys=storeys,
        storey_m=storey_m,
        roof=rng.choices(roofs, weights)[0],
        shop=not detached and rng.random() < 0.22,
        bay_m=rng.uniform(3.4, 5.0) if wide else rng.uniform(2.3, 3.6),
        window_m=(
            rng.uniform(1.7, 2.8) if wide else rng.uniform(1.0, 1.7),
            storey_m * rng.uniform(0.4, 0.6),
        ),
        arched=rng.random() < 0.06,
        balconies=rng.choice((0.0, 0.15, 0.25, 0.35, 0.4)),
        parapet_m=rng.choice(
            ((1.3, 1.0), (0.8, 0.9), (0.9, 0.45), (0.3, 0.9), (0.6, 0.25), (0.4, 0.4))
        ),
    )


@dataclass(frozen=True)
class _Wall:
    """An upright rectangle: points are given by way along it, height, and distance before it."""

    start: Pixel
    along: Pixel
    length: float

    def at(self, s: float, y: float, out: float = 0.0) -> Place:
        """Return the street point at (s, y), ``out`` metres in front of the wall."""
        # Walls run with the viewer on their right-hand side, which is the outside.
        return (
            self.start[0] + s * self.along[0] + out * self.along[1],
            y,
            self.start[1] + s * self.along[1] - out * self.along[0],
        )

    def rectangle(self, s: Pixel, y: Pixel) -> list[Place]:
        """Return the corners of a rectangle on the wall."""
        return [self.at(a, b) for a in s for b in y]

    def faces(self, camera: Camera) -> bool:
        """Whether the camera stands in front of the wall."""
        eye = camera.place
        away = (eye[0] - self.start[0]) * self.along[1] - (eye[1] - self.start[1]) * self.along[0]
        return away > 0


def draw_building(canvas: Canvas, camera: Camera, building: Building) -> None:
    """Paint a building: one facade object with the objects of its walls on it."""
    (left, right), (front, back) = building.u, building.v
    facade = canvas.new(SceneClass.FACADE)
    body = box(building.u, (0, building.height_m), building.v)
    canvas.fill(facade, canvas.sloppy(camera.hull(body), 0.02))
    for solid in _roof(canvas.rng, building):
        canvas.fill(facade, canvas.sloppy(camera.hull(solid), 0.02))
    walls = (
        _Wall((left, front), (1, 0), right - left),
        _Wall((left, back), (0, -1), back - front),
        _Wall((right, front), (0, 1), back - front),
    )
    for wall in walls:
        if wall.faces(camera):
            _draw_wall(canvas, camera, building, wall)
    for pane in _roof_windows(building):
        _draw_window(canvas, camera, pane)


def _roof(rng: Random, building: Building) -> Iterator[list[Place]]:
    """Yield the convex solids that make up the roof, its chimneys and dormers."""
    (left, right), (front, back), eaves = building.u, building.v, building.height_m
    over = rng.uniform(0.0, 0.8)
    u, v = (left - over, right + over), (front - over, back + over)
    rise = {"flat": 0.0, "attic": 0.0, "mansard": 2.6}.get(building.roof, rng.uniform(2.5, 4.5))
    yield box(u, (eaves, eaves + rng.uniform(0.2, 0.6)), v)
    rim = box(u, (eaves,), v)
    middle_u, middle_v = (left + right) / 2, (front + back) / 2
    if building.roof == "attic":
        yield box((left + 1.5, right - 1.5), (eaves, eaves + 2.7), (front + 1.5, back - 1.5))
    elif building.roof == "street-gable":
        yield rim + [(middle_u, eaves + rise, b) for b in v]
    elif building.roof == "mansard":
        yield rim + box((left + 0.8, right - 0.8), (eaves + rise,), (front + 0.8, back - 0.8))
    elif building.roof in ("gable", "hip"):
        inset = 0.3 * (right - left) if building.roof == "hip" else 0.0
        yield rim + [(a, eaves + rise, middle_v) for a in (u[0] + inset, u[1] - inset)]
    for dormer in _dormers(building):
        yield box((dormer - 0.9, dormer + 0.9), (eaves, eaves + 2.2), (front + 0.2, front + 2.5))
    for _ in range(rng.choice((0, 1, 2, 3, 4))):
        a, b = rng.uniform(left, right - 1), rng.uniform(front, 0.5 * (front + middle_v))
        yield box(
            (a, a + rng.uniform(0.5, 1.2)), (eaves, eaves + rng.uniform(0.7, 2.0)), (b, b + 0.8)
        )


def _dormers(building: Building) -> list[float]:
    """Return the places along the street of the roof's dormers."""
    left, right = building.u
    if building.roof not in ("gable", "mansard"):
        return []
    count = int((right - left) / (2 * building.bay_m))
    return [left + (k + 0.5) * (right - left) / count for k in range(count)]


def _roof_windows(building: Building) -> Iterator[list[Place]]:
    """Yield the corners of the windows above the eaves."""
    (left, right), front, eaves = building.u, building.v[0], building.height_m
    places = [(u, 0.7, 1.9) for u in _dormers(building)]
    if building.roof == "street-gable":
        middle = (left + right) / 2
        places += [(middle + side * 1.1, 0.5, 1.7) for side in (-1, 1)]
    for u, low, high in places:
        yield box((u - 0.5, u + 0.5), (eaves + low, eaves + high), (front,))


def _draw_window(canvas: Canvas, camera: Camera, corners: list[Place]) -> None:
    """Paint a window unless it is overlooked or tiny."""
    outline = camera.hull(corners)
    if len(outline) < 3 or canvas.rng.random() < OMITTED:
        return
    x, y = zip(*outline, strict=True)
    if min(max(x) - min(x), max(y) - min(y)) < max(1.0, 0.011 * canvas.scale):
        return
    canvas.add(SceneClass.WINDOW, canvas.sloppy(outline, WINDOW_SLOP))


def _draw_wall(canvas: Canvas, camera: Camera, building: Building, wall: _Wall) -> None:
    """Paint the windows, balconies and shops of a wall, storey by storey."""
    rng = canvas.rng
    margin = rng.uniform(0.4, 1.4)
    count = int((wall.length - 2 * margin) / building.bay_m)
    if count < 1:
        return
    step = (wall.length - 2 * margin) / count
    columns = _columns(rng, count, building.balconies)
    # Balcony bays side by side share one long balcony.
    runs = [list(run) for _, run in groupby(range(count), lambda k: columns[k] == "balcony")]
    balconies = [(run[0], run[-1] + 1) for run in runs if columns[run[0]] == "balcony"]
    for storey in range(building.storeys):
        floor = storey * building.storey_m + 0.02
        if storey == 0 and building.shop:
            ends = (rng.uniform(0, margin), wall.length - rng.uniform(0, margin))
            corners = wall.rectangle(ends, (0, building.storey_m * 0.95))
            canvas.add(SceneClass.SHOP, canvas.sloppy(camera.hull(corners), 0.05))
            continue
        for k, kind in enumerate(columns):
            middle = margin + (k + 0.5) * step
            for s, y in _openings(building, kind, middle, step, floor, storey):
                outline = wall.rectangle(s, y)
                if building.arched:
                    outline += _arch(wall, s, y[1])
                _draw_window(canvas, camera, outline)
        for first, end in balconies if storey > 0 else []:
            ends = (margin + (first + 0.04) * step, margin + (end - 0.04) * step)
            corners = _balcony(building, wall, ends, floor)
            canvas.add(SceneClass.BALCONY_FENCE, canvas.sloppy(camera.hull(corners), 0.07))


def _arch(wall: _Wall, s: Pixel, top: float) -> list[Place]:
    """Return points of a shallow arch over a window."""
    width = s[1] - s[0]
    shape = ((0.15, 0.16), (0.35, 0.26), (0.65, 0.26), (0.85, 0.16))
    return [wall.at(s[0] + a * width, top + b * width) for a, b in shape]


def _columns(rng: Random, count: int, balconies: float) -> list[str]:
    """Choose what every bay of a wall holds, the same on all storeys."""
    ordinary = rng.choices(("window", "pair", "wide"), (6, 2, 1.5))[0]
    kinds = (ordinary, "window", "stairs", "blank", "ribbon" if rng.random() < 0.1 else ordinary)
    columns = rng.choices(kinds, (10, 2, 0.8, 1.3, 4), k=count)
    k = rng.randrange(2)
    while k < count and balconies:
        if rng.random() < balconies:
            wide = min(rng.choice((1, 1, 2, 3)), count - k)
            columns[k : k + wide] = ["balcony"] * wide
            k += wide
        k += 1
    if rng.random() < 0.4:
        half = count // 2
        columns[count - half :] = reversed(columns[:half])
    return columns


def _openings(
    building: Building, kind: str, middle: float, step: float, floor: float, storey: int
) -> list[tuple[Pixel, Pixel]]:
    """Return the windows of a bay on one storey as ranges along and up the wall."""
    width, height = building.window_m
    width = min(width, 0.8 * step)
    sill = floor + 0.3 * building.storey_m
    y = (sill, sill + height)
    if kind == "pair":
        half = 0.42 * min(1.5 * width, 0.9 * step)
        return [((middle - half - 0.1, middle - 0.1), y), ((middle + 0.1, middle + half + 0.1), y)]
    if kind == "balcony" and storey > 0:
        y = (floor + 0.1, floor + 0.78 * building.storey_m)
    elif kind == "stairs":
        y = (sill + 0.5 * building.storey_m, sill + 0.5 * building.storey_m + 0.8 * height)
        width *= 0.8
        if storey == building.storeys - 1:
            return []
    elif kind == "blank":
        return []
    elif kind == "wide":
        width = min(1.6 * width, 0.85 * step)
    elif kind == "ribbon":
        width = 0.98 * step
    return [((middle - width / 2, middle + width / 2), y)]


def _balcony(building: Building, wall: _Wall, ends: Pixel, floor: float) -> list[Place]:
    """Return the corners of a balcony's parapet, a block before the wall."""
    out, parapet = building.parapet_m
    # A thin parapet is a handrail: it starts above the floor.
    low = floor if parapet > 0.5 else floor + 0.5
    return [wall.at(s, y, o) for s in ends for y in (low, low + parapet) for o in (0.0, out)]
