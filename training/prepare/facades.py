"""Facades: street facades with polygons rasterised to label and instance maps."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from model.classes import read_classes
from model.image_io import read_instance_map, read_label_map
from training.layout import CLASSES_FILE
from training.prepare.writer import Example, Item, Release, Split, require


def read_facades(source: Path) -> Release:
    """Read the release; photographs of the split ``test`` become ``val``.

    Layout::

        classes.json           class names and palette
        manifest.csv           columns name and split (train, val or test)
        images/NAME.jpg
        label/NAME.png         8-bit class ids
        inst/NAME.png          16-bit ids, class * 1000 + k, 0 = unlabelled

    Raises FileNotFoundError naming what is missing, ValueError for another split.
    """
    classes = read_classes(require(source / CLASSES_FILE, "class names and palette"))
    manifest = require(source / "manifest.csv", "a table with the columns name and split")
    splits: dict[str, Split] = {"train": "train", "val": "val", "test": "val"}
    items = []
    with manifest.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            name, split = row.get("name"), row.get("split")
            if not name or split not in splits:
                raise ValueError(f"{manifest}: name {name!r} has split {split!r}; "
                                 "expected train, val or test")  # fmt: skip
            files = [
                require(source / "images" / f"{name}.jpg", "a photograph"),
                require(source / "label" / f"{name}.png", "a label map"),
                require(source / "inst" / f"{name}.png", "an instance map"),
            ]
            items.append(Item(splits[split], name, partial(_load, *files)))
    return Release("facades", classes, items)


def _load(photo: Path, label: Path, instance: Path) -> Example:
    return Example(photo, read_label_map(label), read_instance_map(instance))
