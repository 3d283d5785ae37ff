"""Draw street-facade scenes: label and instance maps that stand in for a user's input.

A scene is a row of houses seen by a phone camera at eye height, in the classes of the bundled
facades model. The proportions follow real annotated street photographs: a facade that fills the
frame, rows of windows in perspective, sky above, greenery and street below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
from PIL import Image

from model.scene_buildings import draw_building, random_building
from model.scene_parts import IDS_PER_CLASS, Camera, Canvas, SceneClass
from model.scene_street import (
    draw_bin,
    draw_branches,
    draw_bush,
    draw_car,
    draw_lamp_on_wire,
    draw_post,
    draw_street,
    draw_strip,
    draw_tree,
)

CLASSES: tuple[str, ...] = tuple(kind.name.lower().replace("_", "-") for kind in SceneClass)
"""Class names; the index is the label id."""

PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 0, 0),
    (220, 120, 60),
    (0, 0, 142),
    (70, 70, 70),
    (190, 153, 153),
    (102, 102, 156),
    (250, 170, 160),
    (128, 64, 128),
    (220, 220, 0),
    (107, 142, 35),
    (0, 130, 180),
)
"""Display colour (RGB 0..255) of every class."""

View = Literal["frontal", "oblique", "corner", "house"]
MIN_SIDE, MAX_SIDE, MAX_RATIO = 64, 8192, 32
MIN_WINDOWS, MIN_FACADE, MAX_SKY = 6, 0.14, 0.5


@dataclass(frozen=True)
class Scene:
    """One drawn scene."""

    label: np.ndarray
    """uint8 (H, W): class ids, 0 (unlabeled, the sky) .. 10."""
    instance: np.ndarray
    """uint16 (H, W): class * 1000 + 1, 2, ... for every object, 0 where the label is 0."""


def draw_scene(width: int, height: int, seed: int) -> Scene:
    """Draw the scene of a seed; the same arguments give the same scene everywhere.

    ``width`` and ``height`` are pixels, 64 .. 8192, one at most 32 times the other. Raises
    ValueError for other sizes.
    """
    _check_size(width, height)
    for attempt in range(1000):
        # A string seed keeps attempts and negative seeds apart.
        rng = Random(f"scene {seed} {attempt}")  # noqa: S311, a drawing, not a secret
        instance = _draw(width, height, rng)
        if _is_plausible(instance):
            break
    else:
        raise RuntimeError(f"no scene for {width}x{height}, seed {seed}: this is a bug")
    if rng.random() < 0.5:
        instance = np.ascontiguousarray(instance[:, ::-1])
    return Scene(label=(instance // IDS_PER_CLASS).astype(np.uint8), instance=instance)


def write_scenes(folder: Path, count: int, width: int, height: int, seed: int) -> Iterator[str]:
    """Write ``count`` scenes as PNG files and yield each file name once it is on disk.

    Scene k is ``draw_scene(width, height, seed + k)``. ``folder/label/NAME`` holds class ids
    as a palette image, ``folder/instance/NAME`` the instance ids as 16-bit grey. Raises
    ValueError for a size that cannot be drawn or a negative count, before anything is written.
    """
    _check_size(width, height)
    if count < 0:
        raise ValueError(f"count is {count}; give the number of scenes to draw, 0 or more")
    return _write(folder, range(seed, seed + count), width, height)


def _write(folder: Path, seeds: range, width: int, height: int) -> Iterator[str]:
    for part in ("label", "instance"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        scene = draw_scene(width, height, seed)
        name = f"scene_{seed:05d}.png"
        label = Image.fromarray(scene.label)
        label.putpalette([level for colour in PALETTE for level in colour])
        label.save(folder / "label" / name)
        Image.fromarray(scene.instance).save(folder / "instance" / name)
        yield name


def _check_size(width: int, height: int) -> None:
    short, long = sorted((width, height))
    if short < MIN_SIDE or long > MAX_SIDE or long > MAX_RATIO * short:
        raise ValueError(
            f"a scene of {width}x{height} pixels cannot be drawn; both sides must lie in "
            f"{MIN_SIDE}..{MAX_SIDE}, one at most {MAX_RATIO} times the other"
        )


def _is_plausible(instance: np.ndarray) -> bool:
    """Whether the dice left a picture of a house: facade, some windows, not all sky."""
    label = instance // IDS_PER_CLASS
    share = np.bincount(label.ravel(), minlength=len(SceneClass)) / label.size
    windows = np.unique(instance[label == SceneClass.WINDOW]).size
    return bool(
        windows >= MIN_WINDOWS
        and share[SceneClass.FACADE] >= MIN_FACADE
        and share[SceneClass.UNLABELED] <= MAX_SKY
        and share[SceneClass.WINDOW] >= 0.02
    )


def _draw(width: int, height: int, rng: Random) -> np.ndarray:
    """Draw one attempt; return its instance map (uint16, H x W)."""
    canvas = Canvas(width, height, rng)
    views: tuple[View, ...] = ("frontal", "oblique", "corner", "house")
    view = rng.choices(views, (4, 3, 2.5, 2.5))[0]
    storeys = rng.choice((2, 2, 3)) if view == "house" else rng.choice((3, 4, 4, 5, 5, 6))
    # A tall frame shows a tower: five storeys would fill it with a single window.
    storeys = round(storeys * max(1.0, 0.7 * height / width))
    storey_m = rng.uniform(2.7, 3.3)
    turn = {
        "frontal": rng.uniform(0.0, 0.25),
        "oblique": rng.uniform(0.3, 0.75),
        "corner": rng.uniform(0.4, 1.0),
        "house": rng.uniform(-0.5, 0.5),
    }[view]
    # Where the eaves and the ground are, as parts of the frame height: above 0 the sky shows,
    # beyond 1 the ground is out of the frame.
    span = (rng.uniform(-0.15, 0.4), rng.uniform(0.78, 1.2))
    aim = rng.uniform(0.15, 0.6) if view == "corner" else rng.uniform(0.35, 0.6)
    angles = (turn, rng.uniform(0.05, 0.4), rng.uniform(-0.05, 0.05))
    focal = canvas.scale * rng.uniform(0.75, 1.15)
    camera = Camera.framing((width, height), focal, storeys * storey_m, span, aim, angles)
    reach = max(6.0, width * camera.distance_m / (2 * focal))

    _draw_row(canvas, camera, view, (storeys, storey_m), reach)
    bare = canvas.instance_map()
    _draw_greenery(canvas, camera, reach)
    if rng.random() < 0.55:
        # Annotators mark the windows that show through the branches of bare trees.
        canvas.restore(bare, SceneClass.WINDOW)
    _draw_frontage(canvas, camera, reach, ground_in_frame=span[1] < 1.06)
    _draw_traffic(canvas, camera, reach)
    return canvas.instance_map()


def _draw_row(
    canvas: Canvas, camera: Camera, view: View, size: tuple[int, float], reach: float
) -> None:
    """Paint the main building at u = 0 and its neighbours, the far ones first."""
    rng = canvas.rng
    storeys, storey_m = size
    wide = rng.uniform(9, 14) if view == "house" else rng.uniform(14, 24)
    start = {
        "frontal": -rng.uniform(0.5, 1.3) * min(reach, wide),
        "oblique": -rng.uniform(0.6, 1.1) * min(reach, wide),
        "corner": 0.0,
        "house": -0.5 * wide,
    }[view]
    main = random_building(rng, (start, start + wide), 0.0, storeys, storey_m, view == "house")
    row = [main]
    for side in (-1, 1):
        if side < 0 and view == "corner":
            continue
        edge = main.u[0] if side < 0 else main.u[1]
        # A turned wall runs out of sight slowly on its far side.
        limit = reach * (1.2 if side < 0 else 1.2 + 3 * max(0.0, camera.turn))
        while abs(edge) < limit and rng.random() < 0.85:
            if view == "house" or rng.random() < 0.2:
                edge += side * rng.uniform(3, 8)
            width = rng.uniform(9, 13) if view == "house" else rng.uniform(11, 22)
            u = (edge, edge + width) if side > 0 else (edge - width, edge)
            floors = max(2, storeys + rng.choice((-1, -1, 0, 0, 1)))
            setback = rng.choice((0.0, 0.0, rng.uniform(0.3, 2.5)))
            row.append(random_building(rng, u, setback, floors, storey_m, view == "house"))
            edge = u[0] if side < 0 else u[1]
    eye = camera.place[0]
    for building in sorted(row, key=lambda b: -abs((b.u[0] + b.u[1]) / 2 - eye)):
        draw_building(canvas, camera, building)


def _draw_greenery(canvas: Canvas, camera: Camera, reach: float) -> None:
    """Paint the trees and bushes of the front gardens."""
    rng = canvas.rng
    distance = camera.distance_m
    for _ in range(rng.choice((0, 1, 1, 2, 2, 4))):
        edge = rng.random() < 0.6
        u = rng.choice((-1, 1)) * reach * (rng.uniform(0.6, 1.0) if edge else rng.uniform(0, 0.6))
        foot = (u, 0.0, -rng.uniform(0.5, 0.4 * distance))
        draw_tree(canvas, camera, foot, rng.uniform(3, 10))
    for _ in range(rng.choice((0, 1, 1, 3, 4))):
        foot = (reach * rng.uniform(-1, 1), 0.0, -rng.uniform(0.5, 0.3 * distance))
        draw_bush(canvas, camera, foot, rng.uniform(0.8, 3.0))
    if rng.random() < 0.15:
        draw_branches(canvas)


def _draw_frontage(canvas: Canvas, camera: Camera, reach: float, ground_in_frame: bool) -> None:
    """Paint the ground, and the hedge, fence or wall between house and street."""
    rng = canvas.rng
    distance = camera.distance_m
    kerb = -rng.uniform(0.03, 0.2) * distance
    if ground_in_frame or rng.random() < 0.4:
        kinds = (SceneClass.STREET, SceneClass.VEGETATION, SceneClass.NON_BUILDING_INFRASTRUCTURE)
        if kerb < -1.0 and rng.random() < 0.5:
            draw_street(canvas, camera, rng.choice(kinds[1:]), -0.1)
        draw_street(canvas, camera, rng.choices(kinds, (8, 1.5, 0.4))[0], kerb)
    kind = rng.choices(
        (None, SceneClass.VEGETATION, SceneClass.FENCE, SceneClass.NON_BUILDING_INFRASTRUCTURE),
        (3, 3, 5, 0.3),
    )[0]
    if kind is not None:
        ragged = rng.choice((0.05, 0.15, 0.4)) if kind is SceneClass.VEGETATION else 0.0
        u = (-rng.uniform(0.0, 1.8) * reach, rng.uniform(0.0, 1.8) * reach)
        draw_strip(canvas, camera, kind, u, kerb, rng.uniform(0.6, 1.5), ragged)


def _draw_traffic(canvas: Canvas, camera: Camera, reach: float) -> None:
    """Paint cars, lamp posts, signs and bins, the far ones first."""
    rng = canvas.rng
    distance = camera.distance_m
    if rng.random() < 0.25:
        for _ in range(rng.choice((1, 1, 2, 3))):
            draw_bin(
                canvas, camera, (reach * rng.uniform(-1, 1), -rng.uniform(0.1, 0.35) * distance)
            )
    if rng.random() < 0.4:
        v = -rng.uniform(0.05, 0.38) * distance
        for _ in range(rng.choice((1, 1, 2, 3))):
            draw_car(canvas, camera, (reach * rng.uniform(-0.9, 0.9), v))
    if rng.random() < 0.27:
        for _ in range(rng.choice((1, 1, 2))):
            foot = (reach * rng.uniform(-0.9, 0.9), 0.0, -rng.uniform(0.0, 0.35) * distance)
            draw_post(canvas, camera, foot)
    if rng.random() < 0.06:
        draw_lamp_on_wire(canvas)
