"""A street that is built by rules: houses on both sides, gardens, trees, parked cars, lamps.

The classes are those of the bundled facades model; an object's instance id is its class times 1000
plus its number, as in the drawn scenes.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from random import Random

from cli.demo_drive.mesh import Mesh, Point, box
from model.scene_parts import IDS_PER_CLASS, SceneClass

LENGTH_M = 160.0
KERB_M = 4.0
"""From the street's middle to its kerb."""
FRONT_M = 8.5
"""From the street's middle to the house fronts."""
RELIEF_M = 0.12
"""How far windows stand out of their wall; less than that the depth buffer cannot tell apart."""


@dataclass
class Street:
    """The polygons of a street, which runs from y = 0 to ``LENGTH_M``, and the ids given out."""

    rng: Random
    mesh: Mesh = field(default_factory=Mesh)
    counts: dict[SceneClass, int] = field(default_factory=dict)

    def new(self, kind: SceneClass) -> int:
        """Open an object of a class and return its instance id."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        assert self.counts[kind] < IDS_PER_CLASS
        return kind * IDS_PER_CLASS + self.counts[kind]

    def add(self, kind: SceneClass, *polygons: list[Point]) -> None:
        """Add an object."""
        self.mesh.add(kind, self.new(kind), *polygons)


def build_street(seed: int = 6) -> Mesh:
    """Build the street of a seed; the same seed builds the same street."""
    street = Street(Random(f"street {seed}"))  # noqa: S311, a drawing, not a secret
    _ground(street)
    for side in (-1, 1):
        y = -20.0
        while y < LENGTH_M + 60:
            if street.rng.random() < 0.3:
                y += _garden(street, side, y)
            else:
                y += _house(street, side, y)
        _kerbside(street, side)
    return street.mesh


def _ground(street: Street) -> None:
    far = (-30.0, LENGTH_M + 90)
    street.add(SceneClass.STREET, _lying((-KERB_M, KERB_M), far, 0.0))
    for side in (-1, 1):
        edge = sorted((side * KERB_M, side * 60.0))
        street.add(SceneClass.NON_BUILDING_INFRASTRUCTURE, _lying((edge[0], edge[1]), far, 0.0))


def _lying(x: tuple[float, float], y: tuple[float, float], z: float) -> list[Point]:
    return [(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)]


def _upright(x: float, y: tuple[float, float], z: tuple[float, float]) -> list[Point]:
    return [(x, y[0], z[0]), (x, y[1], z[0]), (x, y[1], z[1]), (x, y[0], z[1])]


def _house(street: Street, side: int, y: float) -> float:
    """Build a house whose wall begins at y; returns its width."""
    rng = street.rng
    columns, storeys = rng.randint(3, 6), rng.randint(2, 4)
    width, storey_m = columns * rng.uniform(2.4, 3.1) + 0.8, rng.uniform(2.8, 3.3)
    eaves, front = storeys * storey_m + 0.9, side * (FRONT_M + rng.choice((0.0, 0.0, 0.8)))
    back, facade = front + side * 9, street.new(SceneClass.FACADE)
    walls = box((min(front, back), max(front, back)), (y, y + width), (0.0, eaves))
    street.mesh.add(SceneClass.FACADE, facade, *walls[:4])
    ridge, middle = eaves + rng.uniform(1.8, 3.5), (front + back) / 2
    roof: list[list[Point]] = [
        [
            (front, y, eaves),
            (front, y + width, eaves),
            (middle, y + width, ridge),
            (middle, y, ridge),
        ],
        [(front, y, eaves), (back, y, eaves), (middle, y, ridge)],
        [(front, y + width, eaves), (back, y + width, eaves), (middle, y + width, ridge)],
    ]
    street.mesh.add(SceneClass.FACADE, facade, *roof)
    _openings(street, (front - side * RELIEF_M, side), (y, width), (columns, storeys), storey_m)
    return width


def _openings(
    street: Street,
    plane: tuple[float, int],
    wall: tuple[float, float],
    grid: tuple[int, int],
    storey_m: float,
) -> None:
    """Put windows, balconies and a shop onto a wall; ``plane`` is its x, and the street's side."""
    rng, (x, side), (y, width), (columns, storeys) = street.rng, plane, wall, grid
    pitch, half = width / columns, rng.uniform(0.5, 0.68)
    height, balconies = rng.uniform(1.4, 1.8), rng.random() < 0.35
    has_shop = rng.random() < 0.3
    if has_shop:
        street.add(SceneClass.SHOP, _upright(x, (y + 0.5, y + width - 0.5), (0.1, storey_m)))
    for storey in range(1 if has_shop else 0, storeys):
        sill = 0.6 + storey * storey_m + 0.8
        for column in range(columns):
            middle = y + (column + 0.5) * pitch
            ends = (middle - half, middle + half)
            street.add(SceneClass.WINDOW, _upright(x, ends, (sill, sill + height)))
            if balconies and storey and column % 2:
                out = sorted((x, x - side * 0.9))
                rail = box(
                    (out[0], out[1]), (ends[0] - 0.4, ends[1] + 0.4), (sill - 0.6, sill + 0.3)
                )
                street.add(SceneClass.BALCONY_FENCE, *rail[:4])


def _garden(street: Street, side: int, y: float) -> float:
    """Leave a gap between houses, with a tree behind a hedge or a fence; returns its width."""
    rng, width = street.rng, street.rng.uniform(4, 8)
    kind = rng.choice((SceneClass.FENCE, SceneClass.VEGETATION))
    edge = sorted((side * FRONT_M, side * (FRONT_M + 0.4)))
    street.add(kind, *box((edge[0], edge[1]), (y, y + width), (0.0, rng.uniform(1.0, 1.5))))
    _tree(street, side * (FRONT_M + 3), y + width / 2, rng.uniform(6, 9))
    return width


def _kerbside(street: Street, side: int) -> None:
    """Park cars along the kerb; trees, lamps and bins stand on the pavement."""
    rng, y = street.rng, 6.0
    while y < LENGTH_M + 20:
        what = rng.random()
        if what < 0.2:
            _car(street, side * (KERB_M - 1.1), y)
        elif what < 0.45:
            _tree(street, side * (KERB_M + 1.4), y, rng.uniform(3.5, 6))
        elif what < 0.6:
            _lamp(street, side * (KERB_M + 0.5), y)
        y += rng.uniform(5.5, 9)


def _car(street: Street, x: float, y: float) -> None:
    length, roof = street.rng.uniform(3.8, 4.6), street.rng.uniform(1.4, 1.6)
    street.add(
        SceneClass.CAR,
        *box((x - 0.85, x + 0.85), (y - length / 2, y + length / 2), (0.25, 0.9)),
        *box((x - 0.7, x + 0.7), (y - length * 0.28, y + length * 0.3), (0.9, roof)),
    )


def _lamp(street: Street, x: float, y: float) -> None:
    inner = x - math.copysign(1.3, x)
    arm = (min(x, inner), max(x, inner))
    street.add(
        SceneClass.TRAFFIC_INFRASTRUCTURE,
        *box((x - 0.08, x + 0.08), (y - 0.08, y + 0.08), (0.0, 5.5)),
        *box(arm, (y - 0.1, y + 0.1), (5.4, 5.6)),
    )


def _tree(street: Street, x: float, y: float, height: float) -> None:
    """Plant a trunk and a ragged crown."""
    rng, radius = street.rng, height * 0.28
    low, middle = height * 0.35, height * 0.7
    crown: list[list[Point]] = []
    rings = [(low, 0.35), (low * 1.25, 0.9), (middle, 1.0), (height * 0.9, 0.6), (height, 0.05)]
    points = [
        [
            (
                x + radius * spread * reach * math.cos(turn * math.tau / 9),
                y + radius * spread * reach * math.sin(turn * math.tau / 9),
                z,
            )
            for turn, reach in enumerate(rng.uniform(0.75, 1.2) for _ in range(9))
        ]
        for z, spread in rings
    ]
    for below, above in itertools.pairwise(points):
        crown += [[below[turn - 1], below[turn], above[turn], above[turn - 1]] for turn in range(9)]
    trunk = box((x - 0.14, x + 0.14), (y - 0.14, y + 0.14), (0.0, low * 1.1))
    street.add(SceneClass.VEGETATION, *trunk[:4], *crown, points[0])
