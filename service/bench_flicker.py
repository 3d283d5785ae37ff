"""How much a model's photographs flicker from frame to frame, and what lowers it at what cost.

Two films of drawn scenes whose motion is known: the camera moves sideways past a still scene, and
a car drives through a scene before a still camera.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.flicker import Shot, flicker, sharpness
from model.scene_parts import IDS_PER_CLASS
from model.scenes import CLASSES, draw_scene
from service.stream_frames import View
from service.stream_steady import Blend
from service.synthesizer import Synthesizer

STEP = 4
"""Pixels by which the camera or the car moves from frame to frame."""
_CAR = CLASSES.index("car")
_SETTLING = 2
"""Frames at the start that are left out, because nothing has been blended yet."""


@dataclass(frozen=True)
class Row:
    """One film, shown in one way."""

    film: str
    means: str
    """What was done against flicker."""
    flicker: float
    """Grey levels between neighbouring frames, along the motion."""
    sharpness: float
    """Mean absolute Laplacian in grey levels."""
    apart: float
    """Mean difference from the film as the model makes it, in grey levels."""


def bench_flicker(
    synthesizer: Synthesizer,
    size: tuple[int, int],
    frames: int,
    seeds: int,
    *,
    can_freeze: bool = False,
) -> list[Row]:
    """Measure both films of drawn scenes at (width, height), each the mean of some seeds.

    ``can_freeze`` tells whether the engine looks at scene keys; then they are also filmed with the
    statistics of their first frame.
    """
    return [
        row
        for film in ("moving camera", "moving car")
        for row in _rows(synthesizer, film, (size, frames, seeds), can_freeze)
    ]


def _rows(
    synthesizer: Synthesizer, film: str, length: tuple[tuple[int, int], int, int], can_freeze: bool
) -> Iterator[Row]:
    size, frames, seeds = length
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(seeds):
        maps = list(_film(film, size, frames, seed))
        plain = [_shot(synthesizer, *each) for each in maps]
        ways = {"nothing": plain, "blending": list(_blended(plain))}
        if can_freeze:
            key = secrets.randbits(62)
            frozen = [_shot(synthesizer, *each, key=key) for each in maps]
            ways |= {"frozen statistics": frozen, "both": list(_blended(frozen))}
        motion = np.zeros((*plain[0].label.shape, 2), np.int64)
        motion[..., 0] = -STEP if film == "moving camera" else 0
        for means, shots in ways.items():
            found.setdefault(means, []).append(_judge(shots, plain, motion))
    for means, values in found.items():
        yield Row(film, means, *np.mean(values, axis=0).tolist())


def markdown(rows: list[Row], about: str) -> str:
    """Write the rows as a table."""
    lines = [
        about,
        "",
        "| film | against flicker | flicker | sharpness | apart from the photograph |",
        "|---|---|---|---|---|",
        *(
            f"| {row.film} | {row.means} | {row.flicker:.2f} | "
            f"{row.sharpness:.2f} | {row.apart:.2f} |"
            for row in rows
        ),
    ]
    return "\n".join([*lines, ""])


def _film(
    film: str, size: tuple[int, int], frames: int, seed: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
    width, height = size
    if film == "moving camera":
        scene = draw_scene(width + STEP * frames, height, seed)
        for left in range(0, STEP * frames, STEP):
            part = np.s_[:, left : left + width]
            yield scene.label[part].copy(), scene.instance[part].astype(np.int32)
        return
    scene = draw_scene(width, height, seed)
    top, bottom = round(0.75 * height), round(0.9 * height)
    for left in range(0, STEP * frames, STEP):
        label, instance = scene.label.copy(), scene.instance.astype(np.int32)
        car = np.s_[top:bottom, left : left + width // 7]
        label[car], instance[car] = _CAR, _CAR * IDS_PER_CLASS + 999
        yield label, instance


def _shot(
    synthesizer: Synthesizer,
    label: NDArray[np.uint8],
    instance: NDArray[np.int32],
    key: int = 0,
) -> Shot:
    (photo,) = synthesizer.run([replace(synthesizer.prepare(label, instance), key=key)])
    return Shot(label, instance, photo)


def _blended(shots: list[Shot]) -> Iterator[Shot]:
    blend, whole = Blend(), (slice(None), slice(None))
    for shot in shots:
        view = View(shot.label.astype(np.uint8), shot.instance.astype(np.int32), whole, None)
        yield replace(shot, photo=blend.blend(view, shot.photo, is_new_scene=False))


def _judge(
    shots: list[Shot], plain: list[Shot], motion: NDArray[np.int64]
) -> tuple[float, float, float]:
    pairs = zip(shots[_SETTLING:], shots[_SETTLING + 1 :], strict=False)
    changes = [flicker(before, after, motion) for before, after in pairs]
    settled = list(zip(shots[_SETTLING:], plain[_SETTLING:], strict=True))
    apart = [np.abs(a.photo.astype(np.int16) - b.photo).mean() for a, b in settled]
    sharp = [sharpness(shot.photo) for shot, _ in settled]
    return float(np.mean(changes)), float(np.mean(sharp)), float(np.mean(apart))
