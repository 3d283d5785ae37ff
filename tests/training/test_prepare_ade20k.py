from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.classes import read_classes
from model.image_io import read_instance_map, read_label_map
from training.check import check_folder
from training.data import find_pairs
from training.prepare import prepare

# Class numbers of the full release, and the benchmark's classes they belong to.
WALL, SKY, DOOR, DOUBLE_DOOR, FLAG, UNLISTED = 2978, 2420, 774, 783, 954, 3687
SUBSET = {0: 0, WALL: 1, SKY: 3, DOOR: 15, DOUBLE_DOOR: 15, FLAG: 150, UNLISTED: 0}


def save(path: Path, array: NDArray[np.integer]) -> None:
    """Write an array as an image file, folder included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_pair(photo: Path, annotation: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a photograph of noise and its annotation."""
    save(photo, np.random.default_rng(0).integers(0, 256, (*pixels.shape[:2], 3), np.uint8))
    save(annotation, pixels)


def full_maps() -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return full class numbers and instances, 14 wide and 10 high: two columns per class."""
    classes = np.repeat(np.array(list(SUBSET), np.int32), 2)[None].repeat(10, axis=0)
    instance = np.repeat(np.array([0, 1, 2, 3, 4, 5, 200], np.uint8), 2)[None].repeat(10, axis=0)
    instance[5:, 2:4] = 6  # a second piece of wall
    return classes, instance


def coded() -> NDArray[np.uint8]:
    """Return the colours of a _seg.png."""
    classes, instance = full_maps()
    return np.stack([classes // 256 * 10, classes % 256, instance], axis=2).astype(np.uint8)


@pytest.mark.parametrize("images", ["images/ADE", "images"])
def test_full_release_is_decoded_exactly(tmp_path: Path, images: str) -> None:
    """Both years' layouts: 3000 classes become 151, instances stay as they are."""
    source = tmp_path / "ADE20K"
    for place in ("training/urban/street/ADE_train_1", "training/a/abbey/ADE_train_2",
                  "validation/home/bedroom/ADE_val_1"):  # fmt: skip
        base = source / images / place
        write_pair(base.with_suffix(".jpg"), base.with_name(base.name + "_seg.png"), coded())
        save(base.with_name(base.name + "_parts_1.png"), coded())
        save(base / f"instance_000_{base.name}.png", np.zeros((10, 14), np.uint8))
    list(prepare("ade20k", source, tmp_path / "out"))
    pairs = find_pairs(tmp_path / "out" / "train")
    assert [pair.name for pair in pairs] == ["ADE_train_1", "ADE_train_2"]
    classes, instance = full_maps()
    expected = np.vectorize(SUBSET.get)(classes)
    for pair in (*pairs, *find_pairs(tmp_path / "out" / "val")):
        assert pair.instance is not None
        np.testing.assert_array_equal(read_label_map(pair.label), expected)
        np.testing.assert_array_equal(read_instance_map(pair.instance), instance)
    for split in ("train", "val"):
        assert check_folder(tmp_path / "out" / split).problems == []


def test_benchmark_subset_keeps_its_values(tmp_path: Path) -> None:
    """SceneParsing150's values 0 to 150 are the classes; it has no instances."""
    source = tmp_path / "ADEChallengeData2016"
    label = np.arange(160, dtype=np.uint8).reshape(10, 16) % 151
    for part, name in (("training", "ADE_train_1"), ("validation", "ADE_val_1")):
        write_pair(
            source / "images" / part / f"{name}.jpg",
            source / "annotations" / part / f"{name}.png",
            label,
        )
    list(prepare("ade20k", source, tmp_path / "out"))
    (pair,) = find_pairs(tmp_path / "out" / "val")
    np.testing.assert_array_equal(read_label_map(pair.label), label)
    assert pair.instance is None
    report = check_folder(tmp_path / "out" / "train")
    assert (report.problems, report.warnings) == ([], [])
    classes = read_classes(tmp_path / "out" / "train" / "classes.json")
    assert len(set(classes.names)) == 151
    assert [classes.names[i] for i in (0, 1, 15, 150)] == ["other", "wall", "door", "flag"]


def test_missing_annotation_and_photograph_are_named(tmp_path: Path) -> None:
    """What lacks its partner is named with the file that should be there."""
    training = tmp_path / "ADE20K" / "images" / "ADE" / "training"
    with pytest.raises(FileNotFoundError, match="training"):
        prepare("ade20k", tmp_path / "ADE20K", tmp_path / "out")
    write_pair(training / "a.jpg", training / "a_seg.png", coded())
    (training / "a_seg.png").rename(training / "b_seg.png")
    with pytest.raises(FileNotFoundError, match=r"a\.jpg: its partner a_seg\.png is missing"):
        prepare("ade20k", tmp_path / "ADE20K", tmp_path / "out")
    write_pair(training / "a.jpg", training / "a_seg.png", coded())
    with pytest.raises(FileNotFoundError, match=r"b_seg\.png: its photograph is missing"):
        prepare("ade20k", tmp_path / "ADE20K", tmp_path / "out")
