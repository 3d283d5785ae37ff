"""Draw what stands in the street: trees, hedges, cars, lamp posts, signs, fences and bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from random import Random

from model.scene_parts import Camera, Canvas, Pixel, Place, SceneClass, box

_SALOON = (
    (0.0, 0.3), (0.01, 0.55), (0.16, 0.64), (0.3, 0.97), (0.5, 1.0), (0.7, 0.96),
    (0.86, 0.66), (0.98, 0.58), (1.0, 0.25), (0.9, 0.16), (0.86, 0.02), (0.78, 0.02),
    (0.73, 0.16), (0.28, 0.16), (0.23, 0.02), (0.15, 0.02), (0.1, 0.16),
)  # fmt: skip
_ESTATE = (
    (0.0, 0.25), (0.01, 0.55), (0.05, 0.75), (0.12, 0.97), (0.4, 1.0), (0.6, 0.98),
    (0.77, 0.66), (0.97, 0.52), (1.0, 0.2), (0.88, 0.15), (0.85, 0.0), (0.76, 0.0),
    (0.72, 0.15), (0.28, 0.15), (0.24, 0.0), (0.15, 0.0), (0.1, 0.15),
)  # fmt: skip
_VAN = (
    (0.0, 0.2), (0.0, 0.9), (0.03, 1.0), (0.7, 1.0), (0.85, 0.62), (0.98, 0.5),
    (1.0, 0.15), (0.86, 0.12), (0.83, 0.0), (0.74, 0.0), (0.7, 0.12), (0.3, 0.12),
    (0.26, 0.0), (0.17, 0.0), (0.13, 0.12),
)  # fmt: skip


def blob(rng: Random, centre: Pixel, radii: Pixel, ragged: float) -> list[Pixel]:
    """Return the outline of foliage: lumpy at ``ragged`` 0, with twigs sticking out at 1."""
    radius = [rng.uniform(0.8, 1.15) for _ in range(rng.randrange(6, 10))]
    swing = 0.16
    for _ in range(4):
        # Midpoint displacement: every pass doubles the points and adds finer roughness.
        following = radius[1:] + radius[:1]
        middles = [
            (a + b) / 2 + rng.uniform(-swing, swing) for a, b in zip(radius, following, strict=True)
        ]
        radius = [r for pair in zip(radius, middles, strict=True) for r in pair]
        swing *= 0.45 + 0.4 * ragged
    step = 2 * math.pi / len(radius)
    return [
        (
            centre[0] + radii[0] * r * math.cos(k * step),
            centre[1] + radii[1] * r * math.sin(k * step),
        )
        for k, r in enumerate(radius)
    ]


def draw_tree(canvas: Canvas, camera: Camera, foot: Place, height_m: float) -> None:
    """Paint a tree with a trunk, its crown about half as wide as the tree is high."""
    rng = canvas.rng
    line = camera.line([foot, (foot[0], height_m, foot[2])])
    if len(line) < 2:
        return
    (x, y), (top_x, top) = line
    tall = y - top
    crown = rng.uniform(0.28, 0.46)
    wide = tall * rng.uniform(0.15, 0.28)
    trunk = tall * rng.uniform(0.012, 0.03)
    ragged = rng.choice((0, 0.4, 0.7, 1))
    tree = canvas.new(SceneClass.VEGETATION)
    fork = (top_x + (x - top_x) * crown, top + crown * tall)
    left = [(x - 1.4 * trunk, y), (fork[0] - trunk, fork[1])]
    right = [(fork[0] + trunk, fork[1]), (x + 1.4 * trunk, y)]
    canvas.fill(tree, left + right)
    canvas.fill(tree, blob(rng, fork, (wide, crown * tall), ragged))
    for _ in range(rng.randrange(4)):
        bough = (fork[0] + wide * rng.uniform(-0.9, 0.9), fork[1] + tall * rng.uniform(-0.2, 0.15))
        radii = (wide * rng.uniform(0.4, 0.8), crown * tall * rng.uniform(0.2, 0.6))
        canvas.fill(tree, blob(rng, bough, radii, ragged))


def draw_bush(canvas: Canvas, camera: Camera, foot: Place, height_m: float) -> None:
    """Paint a bush without a trunk that stands on the ground."""
    line = camera.line([foot, (foot[0], height_m, foot[2])])
    if len(line) == 2:
        tall = line[0][1] - line[1][1]
        radii = (tall * canvas.rng.uniform(0.45, 0.9), tall * 0.55)
        centre = (line[0][0], line[0][1] - 0.45 * tall)
        outline = blob(canvas.rng, centre, radii, canvas.rng.choice((0, 0.3, 0.8)))
        canvas.add(SceneClass.VEGETATION, outline)


def draw_branches(canvas: Canvas) -> None:
    """Paint the branches of a near tree that reach into the upper part of the frame."""
    rng = canvas.rng
    side = rng.choice((0, 1))
    centre = (
        (side + rng.uniform(-0.05, 0.12) * (1 - 2 * side)) * canvas.width,
        rng.uniform(-0.05, 0.3) * canvas.height,
    )
    radius = rng.uniform(0.1, 0.26) * canvas.scale
    outline = blob(rng, centre, (radius, radius * rng.uniform(0.7, 1.6)), rng.choice((0.3, 1, 1.5)))
    canvas.add(SceneClass.VEGETATION, outline)


def draw_strip(
    canvas: Canvas,
    camera: Camera,
    kind: SceneClass,
    u: Pixel,
    v: float,
    height_m: float,
    ragged: float,
) -> None:
    """Paint a hedge, fence or low wall along the street; ``ragged`` metres roughen its top."""
    rng = canvas.rng
    count = max(2, min(400, round((u[1] - u[0]) / (0.15 if ragged else 4))))
    places = [u[0] + (u[1] - u[0]) * i / count for i in range(count + 1)]
    drift = height_m
    top: list[Place] = []
    for a in places:
        drift += rng.uniform(-0.3, 0.3) * ragged + 0.1 * (height_m - drift)
        top.append((a, max(0.2, drift + rng.uniform(-1, 1) * ragged), v))
    canvas.add(kind, camera.line(top + [(a, 0.0, v) for a in reversed(places)]))


def draw_street(canvas: Canvas, camera: Camera, kind: SceneClass, v: float) -> None:
    """Paint the ground nearer than ``v`` as one object."""
    corners = [(u, 0.0, w) for u in (-90.0, 90.0) for w in (v, -60.0)]
    canvas.add(kind, canvas.sloppy(camera.hull(corners), 0.02))


def draw_car(canvas: Canvas, camera: Camera, place: Pixel) -> None:
    """Paint a car parked along or across the street, one end of it at (u, v)."""
    rng = canvas.rng
    shape, length, height = rng.choice(((_SALOON, 4.5, 1.45), (_ESTATE, 4.3, 1.6), (_VAN, 5, 2.1)))
    ahead, across = rng.choice((-1, 1)), rng.random() < 0.3
    outlines = []
    for part, tuck in (
        (0.0, 0.88),
        (0.12, 0.96),
        (0.3, 1.0),
        (0.7, 1.0),
        (0.88, 0.96),
        (1.0, 0.88),
    ):
        # Slices from one side of the car to the other; the roof is narrower than the body.
        side = 1.75 * part
        corners = []
        for x, y in _rounded(shape):
            way, up = ahead * length * x, height * y * (tuck if y > 0.66 else 1)
            u, v = (side, way) if across else (way, side)
            corners.append((place[0] + u, up, place[1] + v))
        outline = camera.line(corners)
        if len(outline) < len(corners) or not canvas.shows(outline):
            return
        outlines.append(outline)
    car = canvas.new(SceneClass.CAR)
    for outline in outlines:
        canvas.fill(car, outline)
    for one, other in pairwise(outlines):
        for k in range(len(one)):
            canvas.fill(car, [one[k - 1], one[k], other[k], other[k - 1]])


def _rounded(outline: Sequence[Pixel]) -> list[Pixel]:
    """Cut every corner of a closed outline once (Chaikin)."""
    rounded = []
    for (a, b), (c, d) in zip(outline, (*outline[1:], outline[0]), strict=True):
        rounded += [(0.75 * a + 0.25 * c, 0.75 * b + 0.25 * d)]
        rounded += [(0.25 * a + 0.75 * c, 0.25 * b + 0.75 * d)]
    return rounded


def draw_post(canvas: Canvas, camera: Camera, foot: Place) -> None:
    """Paint a street lamp or a traffic sign on its post as one object."""
    rng = canvas.rng
    lamp = rng.random() < 0.5
    height = rng.uniform(5, 8) if lamp else rng.uniform(2.2, 3.2)
    line = camera.line([foot, (foot[0], height, foot[2])])
    if len(line) < 2:
        return
    (x, y), (top_x, top) = line
    half = max(0.5, 0.009 * (y - top) if lamp else 0.016 * (y - top), 0.003 * canvas.scale)
    post = canvas.new(SceneClass.TRAFFIC_INFRASTRUCTURE)
    canvas.fill(post, [(x - half, y), (top_x - half, top), (top_x + half, top), (x + half, y)])
    size = (0.09 if lamp else 0.12) * (y - top)
    if not lamp:
        shapes = (
            [(-1, -1), (1, -1), (1, 1), (-1, 1)],
            [(0, -1), (1, 0.8), (-1, 0.8)],
            [(math.cos(k * math.pi / 6), math.sin(k * math.pi / 6)) for k in range(12)],
        )
        sign = rng.choice(shapes)
        canvas.fill(post, [(top_x + size * a, top + size * b) for a, b in sign])
    elif rng.random() < 0.6:
        arm = rng.choice((-1, 1)) * size
        bend = [(-half, 0.2 * size), (0.3 * arm, -0.45 * size), (1.6 * arm, -0.6 * size)]
        bend += [(1.6 * arm, -0.6 * size + 4 * half), (0.4 * arm, 3 * half), (half, 0.5 * size)]
        canvas.fill(post, [(top_x + a, top + b) for a, b in bend])
    else:
        canvas.fill(post, blob(rng, (top_x, top), (0.45 * size, 0.55 * size), 0))


def draw_lamp_on_wire(canvas: Canvas) -> None:
    """Paint a lamp that hangs on a wire across the sky."""
    rng = canvas.rng
    width, height = canvas.width, canvas.height
    end = rng.uniform(0.5, 1.0) * width
    y = (rng.uniform(0.02, 0.2) * height, rng.uniform(0.1, 0.4) * height)
    thick = max(1.0, 0.005 * canvas.scale)
    lamp = canvas.new(SceneClass.TRAFFIC_INFRASTRUCTURE)
    canvas.fill(lamp, [(0, y[0]), (end, y[1]), (end, y[1] + thick), (0, y[0] + thick)])
    t = rng.uniform(0.2, 0.8)
    at = (t * end, y[0] + t * (y[1] - y[0]) + 3 * thick)
    canvas.fill(lamp, blob(rng, at, (0.035 * canvas.scale, 0.02 * canvas.scale), 0))


def draw_bin(canvas: Canvas, camera: Camera, place: Pixel) -> None:
    """Paint a block on the ground: a bin, a container, a junction box or a piece of wall."""
    wide, tall, deep = canvas.rng.choice(
        ((0.6, 1.1, 0.6), (1.4, 1.2, 1.1), (1.4, 1.2, 1.1), (2.2, 1.6, 1.5), (6.0, 0.8, 0.4))
    )
    corners = box((place[0], place[0] + wide), (0, tall), (place[1], place[1] + deep))
    canvas.add(SceneClass.NON_BUILDING_INFRASTRUCTURE, canvas.sloppy(camera.hull(corners), 0.05))
