"""Miniature public data sets, written in the layout of their true releases."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

FACADE_CLASSES = ["unlabeled", "wall", "window"]
FACADE_PALETTE = [[0, 0, 0], [70, 70, 70], [0, 130, 180]]

HELEN_LISTS = {
    "exemplars.txt": ["100032540_1", "100040721_1"],
    "tuning.txt": ["10405146_1"],
    "testing.txt": ["107635070_1"],
}

# Class numbers of ADE20K's full release -> the benchmark's classes they belong to.
ADE_SUBSET = {0: 0, 2978: 1, 2420: 3, 774: 15, 783: 15, 954: 150, 3687: 0}
ADE_PLACES = (
    "training/urban/street/ADE_train_1",
    "training/a/abbey/ADE_train_2",
    "validation/home/bedroom/ADE_val_1",
)

NYU_NAMES = [f"class {number}" for number in range(1, 41)]
WALL, BOOK, MAGAZINE, RARE = 1, 23, 24, 894
NYU_MAPPED = {WALL: 1, BOOK: 23, MAGAZINE: 23, RARE: 40}


def save(path: Path, array: NDArray[np.integer], quality: int = 75) -> None:
    """Write an array as an image file, folder included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, quality=quality)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    """Return a photograph of noise, always the same."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def street_maps() -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Return a road with two bicycles, one of them with an id above 32767, and a license plate."""
    label = np.full((16, 32), 7, np.uint8)
    instance = label.astype(np.uint16)
    label[2:6, 2:12] = 33
    instance[2:6, 2:7], instance[2:6, 7:12] = 33001, 33008
    label[10, 20:24] = 255
    instance[10, 20:24] = 65535
    return label, instance


def write_cityscapes(source: Path) -> Path:
    """Write leftImg8bit and gtFine, test part and other annotations included."""
    label, instance = street_maps()
    for split, city, frame in (
        ("train", "aachen", "000000_000019"),
        ("train", "zurich", "000001_000019"),
        ("val", "lindau", "000002_000019"),
        ("test", "berlin", "000003_000019"),
    ):
        name = f"{city}_{frame}"
        save(source / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", noise(16, 32))
        annotation = source / "gtFine" / split / city / name
        save(annotation.with_name(f"{name}_gtFine_labelIds.png"), label)
        save(annotation.with_name(f"{name}_gtFine_instanceIds.png"), instance)
        save(annotation.with_name(f"{name}_gtFine_color.png"), noise(16, 32))
        annotation.with_name(f"{name}_gtFine_polygons.json").write_text("{}", encoding="utf-8")
    return source


def facade_maps() -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Return a wall with two windows, 24 wide and 16 high."""
    instance = np.full((16, 24), 1001, np.uint16)
    instance[4:8, 4:8], instance[4:8, 8:12] = 2001, 2002
    instance[:2] = 0
    return (instance // 1000).astype(np.uint8), instance


def write_facades(source: Path) -> Path:
    """Write two training photographs and one for tests."""
    label, instance = facade_maps()
    rows = [("a", "train"), ("b", "train"), ("c", "test")]
    for name, _ in rows:
        save(source / "images" / f"{name}.jpg", noise(16, 24))
        save(source / "label" / f"{name}.png", label)
        save(source / "inst" / f"{name}.png", instance)
    classes = {"classes": FACADE_CLASSES, "palette": FACADE_PALETTE, "label_nc": 3}
    (source / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    with (source / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name", "photo", "split", "mean_luma"])
        table.writerows([name, name, split, 0.5] for name, split in rows)
    return source


def part_masks() -> NDArray[np.uint8]:
    """Return 11 soft masks, 22 wide and 12 high: part k is strongest in columns 2k and 2k + 1."""
    part = np.arange(22) // 2
    nearness = 255 - 60 * np.abs(part[None] - np.arange(11)[:, None])
    stack: NDArray[np.uint8] = nearness.clip(0).astype(np.uint8)[:, None].repeat(12, axis=1)
    return stack


def write_helen(source: Path) -> Path:
    """Write SmithCVPR2013_dataset_resized."""
    for file, names in HELEN_LISTS.items():
        for name in names:
            save(source / "images" / f"{name}.jpg", noise(12, 22))
            for part, mask in enumerate(part_masks()):
                save(source / "labels" / name / f"{name}_lbl{part:02}.png", mask)
        lines = "".join(f"{number} , {name}\n" for number, name in enumerate(names, start=1))
        (source / file).write_text(lines, encoding="utf-8")
    return source


def ade_maps() -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return full class numbers and instances, 14 wide and 10 high: two columns per class."""
    classes = np.repeat(np.array(list(ADE_SUBSET), np.int32), 2)[None].repeat(10, axis=0)
    instance = np.repeat(np.array([0, 1, 2, 3, 4, 5, 200], np.uint8), 2)[None].repeat(10, axis=0)
    instance[5:, 2:4] = 6  # a second piece of wall
    return classes, instance


def ade_colours() -> NDArray[np.uint8]:
    """Return the colours of a _seg.png."""
    classes, instance = ade_maps()
    return np.stack([classes // 256 * 10, classes % 256, instance], axis=2).astype(np.uint8)


def write_ade20k(source: Path, images: str = "images/ADE") -> Path:
    """Write the full release; ``images`` is where that of 2021 or of 2016 has the pictures."""
    for place in ADE_PLACES:
        base = source / images / place
        save(base.with_suffix(".jpg"), noise(10, 14))
        save(base.with_name(base.name + "_seg.png"), ade_colours())
        save(base.with_name(base.name + "_parts_1.png"), ade_colours())
        save(base / f"instance_000_{base.name}.png", np.zeros((10, 14), np.uint8))
    return source


def disc(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Return a photograph of a white disc on black, radius 12 pixels."""
    y, x = np.mgrid[:height, :width]
    inside = np.hypot(y - height / 2, x - width / 2) < 12
    return np.repeat((inside * 255).astype(np.uint8)[..., None], 3, axis=2)


def write_celeba_hq(source: Path) -> Path:
    """Write a CelebAMask-HQ of 16 photographs, its masks included."""
    for number in range(16):
        save(source / "CelebA-HQ-img" / f"{number}.jpg", disc(), quality=95)
    save(source / "CelebAMask-HQ-mask-anno" / "0" / "00000_skin.png", disc())
    return source


def nyu_labels() -> NDArray[np.uint16]:
    """Return original labels (480, 640): a wall, two books, a magazine, something rare."""
    label = np.zeros((480, 640), np.uint16)
    label[100:300, 100:500] = WALL
    label[150:160, 150:180] = BOOK
    label[170:180, 150:180] = MAGAZINE
    label[470, 600] = RARE
    label[0] = 7  # on the white border, which is cut off
    return label


def nyu_instances() -> NDArray[np.uint8]:
    """Return original instances: the books are 1 and 2, the magazine is 1 again."""
    instance = np.zeros((480, 640), np.uint8)
    instance[nyu_labels() > 0] = 1
    instance[150:160, 165:180] = 2
    return instance


def write_nyu(source: Path) -> Path:
    """Write the three MATLAB files for three photographs, axes reversed as MATLAB stores them."""
    h5py = pytest.importorskip("h5py")
    scipy_io = pytest.importorskip("scipy.io")
    source.mkdir()
    photos = np.zeros((3, 480, 640, 3), np.uint8)
    photos[:, :, :, 0] = np.arange(3)[:, None, None] * 50
    photos[:, :, :, 1] = (np.arange(480) // 2)[:, None]
    photos[:, :, :, 2] = np.arange(640) // 3
    with h5py.File(source / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = photos.transpose(0, 3, 2, 1)
        file["labels"] = np.stack([nyu_labels().T] * 3)
        file["instances"] = np.stack([nyu_instances().T] * 3)
    mapping = np.full((1, 894), 39, np.uint8)
    for label, value in NYU_MAPPED.items():
        mapping[0, label - 1] = value
    names = np.empty((1, 40), object)
    names[0] = NYU_NAMES
    scipy_io.savemat(source / "classMapping40.mat", {"mapClass": mapping, "className": names})
    numbers = {"trainNdxs": np.array([[1], [3]], np.uint16), "testNdxs": np.array([[2]], np.uint16)}
    scipy_io.savemat(source / "splits.mat", numbers)
    return source


RELEASES: dict[str, Callable[[Path], Path]] = {
    "cityscapes": write_cityscapes,
    "nyu": write_nyu,
    "ade20k": write_ade20k,
    "helen": write_helen,
    "celeba-hq": write_celeba_hq,
    "facades": write_facades,
}
"""Name for ``prepare`` -> what writes the release into a folder."""
