from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.classes import read_classes
from model.image_io import read_instance_map, read_label_map
from tests.training.releases import save, street_maps, write_cityscapes
from training.check import check_folder
from training.data import find_pairs
from training.prepare import prepare


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A miniature release."""
    return write_cityscapes(tmp_path / "cityscapes")


def test_ids_come_through_exactly(release: Path, tmp_path: Path) -> None:
    """Instance 33008 survives, plates become class 34, and the check finds no problem."""
    target = tmp_path / "out"
    list(prepare("cityscapes", release, target))
    label, instance = street_maps()
    label[label == 255] = 34
    for split, names in (
        ("train", ["aachen_000000_000019", "zurich_000001_000019"]),
        ("val", ["lindau_000002_000019"]),
    ):
        pairs = find_pairs(target / split)
        assert [pair.name for pair in pairs] == names
        assert pairs[0].instance is not None
        np.testing.assert_array_equal(read_label_map(pairs[0].label), label)
        ids = read_instance_map(pairs[0].instance)
        np.testing.assert_array_equal(ids, instance)
        assert ids[4, 9] == 33008
        report = check_folder(target / split)
        assert report.problems == []
        assert report.shares["bicycle"] == 40 / 512
        assert report.shares["license plate"] == 4 / 512


def test_resizing_keeps_large_ids(release: Path, tmp_path: Path) -> None:
    """Ids above 32767 survive the nearest-neighbour scaling too."""
    list(prepare("cityscapes", release, tmp_path / "out", size=8))
    (pair,) = find_pairs(tmp_path / "out" / "val")
    assert pair.instance is not None
    np.testing.assert_array_equal(read_instance_map(pair.instance), street_maps()[1][1::2, 1::2])


def test_classes_are_the_official_ones(release: Path, tmp_path: Path) -> None:
    """35 names and colours, at the places that the label ids mean."""
    list(prepare("cityscapes", release, tmp_path / "out"))
    classes = read_classes(tmp_path / "out" / "train" / "classes.json")
    assert len(classes) == 35
    table = dict(zip(classes.names, classes.palette, strict=True))
    assert [classes.names[i] for i in (0, 7, 11, 23, 26, 33)] == [
        "unlabeled", "road", "building", "sky", "car", "bicycle",
    ]  # fmt: skip
    assert table["road"] == (128, 64, 128)
    assert table["sky"] == (70, 130, 180)
    assert table["bicycle"] == (119, 11, 32)


def test_missing_parts_are_named(release: Path, tmp_path: Path) -> None:
    """A missing archive, annotation or photograph stops the preparation before it starts."""
    photo = next((release / "leftImg8bit" / "val").rglob("*.png"))
    annotation = next((release / "gtFine" / "val").rglob("*instanceIds.png"))
    kept = photo.read_bytes()
    photo.unlink()
    with pytest.raises(FileNotFoundError, match=r"no .*_leftImg8bit.png file"):
        prepare("cityscapes", release, tmp_path / "out")
    photo.write_bytes(kept)
    save(photo.with_name("lindau_000009_000019_leftImg8bit.png"), np.zeros((16, 32, 3), np.uint8))
    with pytest.raises(
        FileNotFoundError, match=r"lindau_000009_000019_gtFine_labelIds.png is miss"
    ):
        prepare("cityscapes", release, tmp_path / "out")
    photo.with_name("lindau_000009_000019_leftImg8bit.png").unlink()
    annotation.rename(annotation.with_name("lindau_000009_000019_gtFine_instanceIds.png"))
    with pytest.raises(FileNotFoundError, match=r"lindau_000002_000019_gtFine_instanceIds.png"):
        prepare("cityscapes", release, tmp_path / "out")
    (release / "gtFine").rename(release / "gtCoarse")
    with pytest.raises(FileNotFoundError, match=r"gtFine_trainvaltest.zip"):
        prepare("cityscapes", release, tmp_path / "out")
    assert not (tmp_path / "out").exists()
