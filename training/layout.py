"""The folder layout of a training set: which files lie where.

classes.json        names of the classes, display colours, label values to ignore
label/NAME.png      label maps; or instead of them, and then without classes.json,
source/NAME.*       photographs or drawings that the model starts from
image/NAME.*        photographs
instance/NAME.*     instance maps (optional)
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

InputKind = Literal["label", "source"]
CLASSES_FILE = "classes.json"
_PHOTOS = (".png", ".jpg", ".jpeg", ".webp")
SUFFIXES = {
    "label": (".png",),
    "source": _PHOTOS,
    "image": _PHOTOS,
    "instance": (".png", ".tif", ".tiff", ".npy"),
}
"""Folders of a training set, and the endings that are read in each."""


def input_kind(folder: Path) -> InputKind:
    """Say whether a training set has label maps or source images; raises ValueError for both."""
    has_source, has_labels = ((folder / kind).is_dir() for kind in ("source", "label"))
    if has_source and has_labels:
        raise ValueError(f"{folder}: has label/ and source/; a data set has one of the two")
    return "source" if has_source else "label"
