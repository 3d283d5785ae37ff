"""Scenes as users have them: what a quantised engine is calibrated on, and what it is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.parity import Feeds
from model.bundle import Bundle
from model.codec import prepare_maps
from model.image_io import read_instance_map, read_label_map, read_source
from model.scenes import CLASSES, draw_scene
from model.styles import StyleChoice, style_table

_DRAWN_SIZES = ((256, 256), (320, 192), (192, 320))
_HELD_OUT_SIZES = ((256, 256), (333, 217), (512, 384))
_CALIBRATING = 24
_HELD_OUT = 6
_LARGEST = 512
"""Maps from files are cropped to this many pixels a side: every value of the network is kept."""


class NoScenesError(ValueError):
    """There are no maps to calibrate with; the message says what to give."""


def can_draw(bundle: Bundle) -> bool:
    """Whether the drawn scenes have the classes of this model."""
    return bundle.classes.names == CLASSES


def real_scenes(bundle: Bundle, folder: Path | None) -> tuple[list[Feeds], list[Feeds]]:
    """Return scenes for calibration, and others by which to judge the result.

    They come from ``folder`` (label/ or source/, and instance/ beside it), every fourth of them
    for judging, or are drawn. Raises NoScenesError, and MapError naming the file.
    """
    if folder is not None:
        return _read(bundle, folder)
    if not can_draw(bundle):
        raise NoScenesError(
            f"{bundle.folder}: int8 engines are calibrated on real maps, and scenes of this "
            "model's classes cannot be drawn; give a folder of them with --calibration"
        )
    calibrating = [_drawn(bundle, *_DRAWN_SIZES[k % 3], 1000 + k) for k in range(_CALIBRATING)]
    return calibrating, [_drawn(bundle, *_HELD_OUT_SIZES[k % 3], k) for k in range(_HELD_OUT)]


def _drawn(bundle: Bundle, width: int, height: int, seed: int) -> Feeds:
    scene = draw_scene(width, height, seed)
    return _feeds(bundle, scene.label, scene.instance, f"scene {seed}", seed)


def _read(bundle: Bundle, folder: Path) -> tuple[list[Feeds], list[Feeds]]:
    kind = "label" if bundle.input.label_count else "source"
    files = sorted(f for f in (folder / kind).glob("*") if f.is_file()) if folder.is_dir() else []
    if len(files) < 2:
        raise NoScenesError(f"{folder / kind}: calibration needs at least two maps there")
    held_out = files[:: max(2, len(files) // _HELD_OUT)][:_HELD_OUT]
    calibrating = [file for file in files if file not in held_out]
    chosen = calibrating[:: -(-len(calibrating) // _CALIBRATING)]
    read = [_read_scene(bundle, file, n) for n, file in enumerate(chain(chosen, held_out))]
    return read[: len(chosen)], read[len(chosen) :]


def _read_scene(bundle: Bundle, file: Path, seed: int) -> Feeds:
    spec = bundle.input
    label = read_label_map(file) if spec.label_count else read_source(file, spec.image_channels)
    matches: Sequence[Path] = sorted((file.parent.parent / "instance").glob(f"{file.stem}.*"))
    instance = read_instance_map(matches[0]) if matches else None
    crop = np.s_[:_LARGEST, :_LARGEST]
    return _feeds(
        bundle, label[crop], None if instance is None else instance[crop], str(file), seed
    )


def _feeds(
    bundle: Bundle,
    label: NDArray[np.integer],
    instance: NDArray[np.integer] | None,
    name: str,
    seed: int,
) -> Feeds:
    """One scene as a batch, in the styles of one photograph, as a user's request would be."""
    spec = bundle.input
    maps = prepare_maps(label, instance, spec.label_count, bundle.ignore_labels, name)
    feeds: Feeds = {"label": maps.label[None]}
    if spec.edges:
        feeds["instance"] = maps.instance[None]
    if spec.style_channels:
        feeds["style_index"] = maps.index[None]
        feeds["style_table"] = style_table(
            maps, bundle.styles, spec.style_channels, StyleChoice(seed), bundle.scene_styles
        )[None]
    return feeds
