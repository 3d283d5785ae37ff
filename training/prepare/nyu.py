"""NYU Depth v2: indoor scenes in 40 classes, with instances."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.classes import Classes, distinct_colours
from training.prepare.writer import Example, Item, Release, Split, require

LABELED = "nyu_depth_v2_labeled.mat"
MAPPING = "classMapping40.mat"
SPLITS_FILE = "splits.mat"

# The photographs have a white border where the colour image was projected onto the depth image.
# This is the frame that the data set's own toolbox keeps: 561x427 of 640x480 pixels.
FRAME = np.s_[44:471, 40:601]
# Instance ids are class * 1000 + k, as in Cityscapes.
IDS_PER_CLASS = 1000


def read_nyu(source: Path) -> Release:
    """Read the labelled part of NYU Depth v2, cropped to the frame without the white border.

    Layout::

        nyu_depth_v2_labeled.mat   MATLAB 7.3 (HDF5); Python sees the axes reversed:
                                   images (N, 3, 640, 480) uint8, labels (N, 640, 480) uint16,
                                   instances (N, 640, 480) uint8
        splits.mat                 trainNdxs, testNdxs: numbers from 1; test becomes val
        classMapping40.mat         mapClass: class 1..40 of label 1..894; className: 40 names

    Class 0 is "unlabelled". Instances are numbered class * 1000 + k. Raises FileNotFoundError
    naming what is missing, ImportError without the extra ``data``, ValueError for a .mat file of
    other contents.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "reading NYU's .mat file needs h5py; install it with: pip install 'hdsynth[data]'"
        ) from error
    labeled = require(source / LABELED, "the labelled data set of NYU Depth v2")
    mapping = _read_mat(source / MAPPING, ("mapClass", "className"))
    splits = _read_mat(source / SPLITS_FILE, ("trainNdxs", "testNdxs"))
    with h5py.File(labeled) as file:
        for key in ("images", "labels", "instances"):
            if key not in file:
                raise ValueError(f"{labeled}: has no {key!r}; download {LABELED} again")
        count = len(file["labels"])
    table = np.concatenate([[0], mapping["mapClass"].ravel()]).astype(np.int64)
    names = tuple(str(cell.item()) for cell in mapping["className"].ravel())
    if len(names) != 40 or table.min() < 0 or table.max() > len(names):
        raise ValueError(f"{source / MAPPING}: maps to {len(names)} classes; expected 40")
    items = []
    keys: tuple[tuple[str, Split], ...] = (("trainNdxs", "train"), ("testNdxs", "val"))
    for key, split in keys:
        for number in splits[key].ravel().tolist():
            if not 1 <= number <= count:
                raise ValueError(f"{source / SPLITS_FILE}: {key} names photograph {number}, but "
                                 f"{LABELED} has {count}")  # fmt: skip
            load = partial(_load, labeled, number - 1, table)
            items.append(Item(split, f"{number:04}", load))
    palette = ((0, 0, 0), *distinct_colours(len(names)))
    return Release("nyu", Classes(("unlabelled", *names), palette), items)


def _read_mat(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    from scipy.io import loadmat

    data: dict[str, Any] = loadmat(require(path, f"a MATLAB file with {' and '.join(keys)}"))
    for key in keys:
        if key not in data:
            raise ValueError(f"{path}: has no {key!r}; expected {' and '.join(keys)}")
    return data


def _load(path: Path, index: int, table: NDArray[np.int64]) -> Example:
    import h5py

    # Opened anew each time: cheap beside reading, and no handle is shared between threads.
    with h5py.File(path) as file:
        photo = file["images"][index].transpose(2, 1, 0)[FRAME]
        label = file["labels"][index].T[FRAME]
        instance = file["instances"][index].T[FRAME]
    if label.max() >= len(table):
        raise ValueError(f"{path}: label {label.max()} of photograph {index + 1} is not in "
                         f"{MAPPING}, which ends at {len(table) - 1}")  # fmt: skip
    return Example(np.ascontiguousarray(photo), *to_40_classes(label, instance, table))


def to_40_classes(
    label: NDArray[np.uint16], instance: NDArray[np.uint8], table: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Map labels (H, W) through ``table`` and number the objects of each class from 1.

    An object is a pair of original label and instance: two labels that fall into one of the 40
    classes may use the same instance number. Returns class ids and class * 1000 + k, both (H, W).
    """
    keys, index = np.unique(label.astype(np.int64) * 256 + instance, return_inverse=True)
    classes = table[keys // 256]
    ids = np.zeros(len(keys), np.uint16)
    for value in np.unique(classes[classes > 0]):
        members = np.flatnonzero(classes == value)
        ids[members] = value * IDS_PER_CLASS + 1 + np.arange(len(members))
    shape = label.shape
    return classes[index].reshape(shape).astype(np.uint8), ids[index].reshape(shape)
