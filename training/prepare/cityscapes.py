"""Cityscapes: street scenes in 35 classes, with instances, at 2048x1024."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from model.classes import Classes
from model.image_io import read_instance_map, read_label_map
from training.prepare.writer import (
    SPLITS,
    Example,
    Item,
    Release,
    files_by_name,
    require,
    require_same_names,
)

# Names and colours as the data set's authors define them, in the order of the label ids. The last
# class has the id -1 there, which an 8-bit file stores as 255 where it stores it at all.
CLASSES = Classes(
    (
        "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic",
        "ground", "road", "sidewalk", "parking", "rail track", "building", "wall", "fence",
        "guard rail", "bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign",
        "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan",
        "trailer", "train", "motorcycle", "bicycle", "license plate",
    ),
    (
        (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0), (111, 74, 0),
        (81, 0, 81), (128, 64, 128), (244, 35, 232), (250, 170, 160), (230, 150, 140),
        (70, 70, 70), (102, 102, 156), (190, 153, 153), (180, 165, 180), (150, 100, 100),
        (150, 120, 90), (153, 153, 153), (153, 153, 153), (250, 170, 30), (220, 220, 0),
        (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
        (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 0, 90), (0, 0, 110), (0, 80, 100),
        (0, 0, 230), (119, 11, 32), (0, 0, 142),
    ),
)  # fmt: skip
LICENSE_PLATE = 34
MINUS_ONE = 255


def read_cityscapes(source: Path) -> Release:
    """Read leftImg8bit_trainvaltest and gtFine_trainvaltest; the test part has no labels.

    Layout::

        leftImg8bit/{train,val}/CITY/NAME_leftImg8bit.png
        gtFine/{train,val}/CITY/NAME_gtFine_labelIds.png      8-bit class ids
        gtFine/{train,val}/CITY/NAME_gtFine_instanceIds.png   16-bit ids: class * 1000 + k, or
                                                              the class where it isn't countable

    Ids are kept exactly; license plates (-1, stored as 255) become class 34. Raises
    FileNotFoundError naming what is missing.
    """
    require(source / "leftImg8bit", "the photographs, unpacked from leftImg8bit_trainvaltest.zip")
    require(source / "gtFine", "the annotations, unpacked from gtFine_trainvaltest.zip")
    items = []
    for split in SPLITS:
        photos = files_by_name(source / "leftImg8bit" / split, "_leftImg8bit.png")
        annotations = source / "gtFine" / split
        labels = files_by_name(annotations, "_gtFine_labelIds.png")
        instances = files_by_name(annotations, "_gtFine_instanceIds.png")
        require_same_names(photos, labels, "_gtFine_labelIds.png")
        require_same_names(photos, instances, "_gtFine_instanceIds.png")
        for name, photo in photos.items():
            items.append(Item(split, name, partial(_load, photo, labels[name], instances[name])))
    return Release("cityscapes", CLASSES, items)


def _load(photo: Path, label: Path, instance: Path) -> Example:
    ids = read_label_map(label)
    ids = np.where(ids == MINUS_ONE, LICENSE_PLATE, ids)
    return Example(photo, ids, read_instance_map(instance))
