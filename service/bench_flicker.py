"""How much a model's photographs flicker from frame to frame, and what blending them costs.

Two films of drawn scenes whose motion is known: the camera moves sideways past a still scene, and
a car drives through a scene before a still camera.
"""

from __future__ import annotations

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
    """One film, blended or not."""

    film: str
    blended: bool
    flicker: float
    """Grey levels between neighbouring frames, along the motion."""
    sharpness: float
    """Mean absolute Laplacian in grey levels."""
    apart: float
    """Mean difference from the film that is not blended, in grey levels."""


def bench_flicker(
    synthesizer: Synthesizer, size: tuple[int, int], frames: int, seeds: int
) -> list[Row]:
    """Measure both films of drawn scenes at (width, height), each the mean of some seeds."""
    rows = []
    for film in ("moving camera", "moving car"):
        plain, blended = [], []
        for seed in range(seeds):
            shots = [_shot(synthesizer, *maps) for maps in _film(film, size, frames, seed)]
            motion = np.zeros((*shots[0].label.shape, 2), np.int64)
            motion[..., 0] = -STEP if film == "moving camera" else 0
            mixed = list(_blended(shots))
            plain.append(_judge(shots, shots, motion))
            blended.append(_judge(mixed, shots, motion))
        rows.append(Row(film, False, *np.mean(plain, axis=0).tolist()))
        rows.append(Row(film, True, *np.mean(blended, axis=0).tolist()))
    return rows


def markdown(rows: list[Row], about: str) -> str:
    """Write the rows as a table."""
    lines = [
        about,
        "",
        "| film | blended | flicker | sharpness | apart from the photograph |",
        "|---|---|---|---|---|",
        *(
            f"| {row.film} | {'yes' if row.blended else 'no'} | {row.flicker:.2f} | "
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


def _shot(synthesizer: Synthesizer, label: NDArray[np.uint8], instance: NDArray[np.int32]) -> Shot:
    (photo,) = synthesizer.run([synthesizer.prepare(label, instance)])
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
