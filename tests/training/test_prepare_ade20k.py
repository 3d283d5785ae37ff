from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.classes import read_classes
from model.image_io import read_instance_map, read_label_map
from tests.training.releases import ADE_SUBSET, ade_colours, ade_maps, save, write_ade20k
from training.check import check_folder
from training.data import find_pairs
from training.prepare import prepare


def write_pair(photo: Path, annotation: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a photograph of noise and its annotation."""
    save(photo, np.random.default_rng(0).integers(0, 256, (*pixels.shape[:2], 3), np.uint8))
    save(annotation, pixels)


@pytest.mark.parametrize("images", ["images/ADE", "images"])
def test_full_release_is_decoded_exactly(tmp_path: Path, images: str) -> None:
    """Both years' layouts: 3000 classes become 151, instances stay as they are."""
    source = write_ade20k(tmp_path / "ADE20K", images)
    list(prepare("ade20k", source, tmp_path / "out"))
    pairs = find_pairs(tmp_path / "out" / "train")
    assert [pair.name for pair in pairs] == ["ADE_train_1", "ADE_train_2"]
    classes, instance = ade_maps()
    expected = np.vectorize(ADE_SUBSET.get)(classes)
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
    write_pair(training / "a.jpg", training / "a_seg.png", ade_colours())
    (training / "a_seg.png").rename(training / "b_seg.png")
    with pytest.raises(FileNotFoundError, match=r"a\.jpg: its partner a_seg\.png is missing"):
        prepare("ade20k", tmp_path / "ADE20K", tmp_path / "out")
    write_pair(training / "a.jpg", training / "a_seg.png", ade_colours())
    with pytest.raises(FileNotFoundError, match=r"b_seg\.png: its photograph is missing"):
        prepare("ade20k", tmp_path / "ADE20K", tmp_path / "out")
