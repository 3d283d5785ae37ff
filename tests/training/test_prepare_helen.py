from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.classes import read_classes
from model.image_io import read_label_map
from tests.training.releases import write_helen
from training.check import check_folder
from training.data import find_pairs
from training.prepare import prepare


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A miniature release."""
    return write_helen(tmp_path / "SmithCVPR2013_dataset_resized")


def test_every_pixel_gets_its_strongest_part(release: Path, tmp_path: Path) -> None:
    """The 11 masks become one label map; tuning photographs are trained on, tests are not."""
    list(prepare("helen", release, tmp_path / "out"))
    names = [pair.name for pair in find_pairs(tmp_path / "out" / "train")]
    assert names == ["100032540_1", "100040721_1", "10405146_1"]
    (pair,) = find_pairs(tmp_path / "out" / "val")
    expected = np.tile(np.arange(22, dtype=np.uint8) // 2, (12, 1))
    np.testing.assert_array_equal(read_label_map(pair.label), expected)
    assert pair.instance is None
    for split in ("train", "val"):
        report = check_folder(tmp_path / "out" / split)
        assert (report.problems, report.warnings) == ([], [])
    classes = read_classes(tmp_path / "out" / "val" / "classes.json")
    assert [classes.names[i] for i in (0, 1, 6, 8, 10)] == [
        "background", "face", "nose", "inner mouth", "hair",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "missing",
    [
        "tuning.txt",
        "images/100040721_1.jpg",
        "labels/107635070_1/107635070_1_lbl06.png",
    ],
)
def test_missing_file_is_named(release: Path, tmp_path: Path, missing: str) -> None:
    """A missing list, photograph or mask is named before anything is written."""
    (release / missing).unlink()
    with pytest.raises(FileNotFoundError) as error:
        prepare("helen", release, tmp_path / "out")
    assert str(release / missing) in str(error.value)
    assert not (tmp_path / "out").exists()


def test_name_listed_twice_is_refused(release: Path, tmp_path: Path) -> None:
    """Two examples of one name would overwrite each other."""
    with (release / "tuning.txt").open("a", encoding="utf-8") as file:
        file.write("9 , 100032540_1\n")
    with pytest.raises(ValueError, match="lists train/100032540_1 twice"):
        prepare("helen", release, tmp_path / "out")
