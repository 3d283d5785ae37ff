from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.classes import read_classes
from model.image_io import read_label_map
from training.check import check_folder
from training.data import find_pairs
from training.prepare import prepare

LISTS = {
    "exemplars.txt": ["100032540_1", "100040721_1"],
    "tuning.txt": ["10405146_1"],
    "testing.txt": ["107635070_1"],
}


def save(path: Path, array: NDArray[np.integer]) -> None:
    """Write an array as an image file, folder included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def masks() -> NDArray[np.uint8]:
    """Return 11 soft masks, 22 wide and 12 high: part k is strongest in columns 2k and 2k + 1."""
    part = np.arange(22) // 2
    nearness = 255 - 60 * np.abs(part[None] - np.arange(11)[:, None])
    stack: NDArray[np.uint8] = nearness.clip(0).astype(np.uint8)[:, None].repeat(12, axis=1)
    return stack


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Return a miniature SmithCVPR2013_dataset_resized."""
    source = tmp_path / "SmithCVPR2013_dataset_resized"
    for file, names in LISTS.items():
        for name in names:
            photo = np.random.default_rng(0).integers(0, 256, (12, 22, 3), np.uint8)
            save(source / "images" / f"{name}.jpg", photo)
            for part, mask in enumerate(masks()):
                save(source / "labels" / name / f"{name}_lbl{part:02}.png", mask)
        lines = "".join(f"{number} , {name}\n" for number, name in enumerate(names, start=1))
        (source / file).write_text(lines, encoding="utf-8")
    return source


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
