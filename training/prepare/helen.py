"""Helen faces with the part masks of Smith et al., "Exemplar-Based Face Parsing", CVPR 2013."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from model.classes import Classes, distinct_colours
from model.image_io import read_label_map
from training.prepare.writer import Example, Item, Release, Split, require

PARTS = (
    "background", "face", "left eyebrow", "right eyebrow", "left eye", "right eye", "nose",
    "upper lip", "inner mouth", "lower lip", "hair",
)  # fmt: skip
LISTS: tuple[tuple[str, Split], ...] = (
    ("exemplars.txt", "train"),
    ("tuning.txt", "train"),
    ("testing.txt", "val"),
)


def read_helen(source: Path) -> Release:
    """Read SmithCVPR2013_dataset_resized: every pixel gets the part of its strongest mask.

    Layout::

        exemplars.txt, tuning.txt, testing.txt    lines "NUMBER , NAME"; train, train, val
        images/NAME.jpg
        labels/NAME/NAME_lbl00.png .. _lbl10.png  8-bit masks of the 11 parts

    Raises FileNotFoundError naming what is missing.
    """
    require(source / "images", "the folder of photographs of SmithCVPR2013_dataset_resized")
    items = []
    for file, split in LISTS:
        for line in (
            require(source / file, "a list of names").read_text(encoding="utf-8").split("\n")
        ):
            name = line.rpartition(",")[2].strip()
            if not name:
                continue
            photo = require(source / "images" / f"{name}.jpg", f"a photograph, listed in {file}")
            stem = source / "labels" / name / name
            masks = [
                require(stem.with_name(f"{name}_lbl{part:02}.png"), f"the mask of {PARTS[part]}")
                for part in range(len(PARTS))
            ]
            items.append(Item(split, name, partial(_load, photo, masks)))
    palette = ((0, 0, 0), *distinct_colours(len(PARTS) - 1))
    return Release("helen", Classes(PARTS, palette), items)


def _load(photo: Path, masks: list[Path]) -> Example:
    strength = np.stack([read_label_map(mask) for mask in masks])
    return Example(photo, strength.argmax(axis=0).astype(np.uint8))
