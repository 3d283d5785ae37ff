from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.errors import MapError
from model.image_io import read_instance_map, read_label_map, read_photo
from tests.training.releases import FACADE_CLASSES, facade_maps, save, write_facades
from training.check import check_folder
from training.data import find_pairs
from training.prepare import PREPARERS, prepare


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A miniature release."""
    return write_facades(tmp_path / "facades")


def test_release_becomes_two_training_folders(release: Path, tmp_path: Path) -> None:
    """Maps come through exactly, photographs byte for byte, and the check finds nothing."""
    target = tmp_path / "out"
    progress = list(prepare("facades", release, target))
    assert [(p.done, p.total, p.name) for p in progress] == [
        (1, 3, "train/a"),
        (2, 3, "train/b"),
        (3, 3, "val/c"),
    ]
    label, instance = facade_maps()
    for split, names in (("train", ["a", "b"]), ("val", ["c"])):
        pairs = find_pairs(target / split)
        assert [pair.name for pair in pairs] == names
        for pair in pairs:
            assert pair.instance is not None
            np.testing.assert_array_equal(read_label_map(pair.label), label)
            np.testing.assert_array_equal(read_instance_map(pair.instance), instance)
            original = release / "images" / f"{pair.name}.jpg"
            assert pair.image.read_bytes() == original.read_bytes()
        report = check_folder(target / split)
        assert (report.problems, report.warnings) == ([], [])
        assert list(report.shares) == FACADE_CLASSES


def test_resizing_keeps_ids_exact(release: Path, tmp_path: Path) -> None:
    """With a size the shorter side fits it, ids are never blended and photos become PNG."""
    target = tmp_path / "out"
    list(prepare("facades", release, target, size=8))
    (pair,) = find_pairs(target / "val")
    assert pair.instance is not None
    label, instance = facade_maps()
    np.testing.assert_array_equal(read_label_map(pair.label), label[1::2, 1::2])
    np.testing.assert_array_equal(read_instance_map(pair.instance), instance[1::2, 1::2])
    assert pair.image.suffix == ".png"
    with Image.open(release / "images" / "c.jpg") as photo:
        expected = np.asarray(photo.resize((12, 8), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(read_photo(pair.image), expected)
    assert check_folder(target / "val").problems == []


def test_preparation_resumes_and_leaves_finished_files_alone(release: Path, tmp_path: Path) -> None:
    """Stopped halfway and started again, it writes what is missing and nothing else."""
    target = tmp_path / "out"
    steps = prepare("facades", release, target, workers=1)
    next(steps)
    steps.close()
    finished = target / "train" / "label" / "a.png"
    # What a killed run may leave: an example without its label map, and half a file.
    (target / "train" / "label" / "b.png").unlink(missing_ok=True)
    (target / "train" / "label" / ".b.png.part").write_bytes(b"half")
    finished.write_bytes(b"untouched")
    assert len(list(prepare("facades", release, target))) == 3
    assert finished.read_bytes() == b"untouched"
    np.testing.assert_array_equal(
        read_label_map(target / "train" / "label" / "b.png"), facade_maps()[0]
    )
    assert [path.name for path in target.rglob("*.part")] == []


def test_one_folder_never_holds_two_settings(release: Path, tmp_path: Path) -> None:
    """Another size, and a folder of other contents, are refused before anything is written."""
    target = tmp_path / "out"
    list(prepare("facades", release, target))
    with pytest.raises(ValueError, match="choose another folder"):
        list(prepare("facades", release, target, size=8))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").touch()
    with pytest.raises(ValueError, match="is not empty"):
        list(prepare("facades", release, foreign))
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("missing", ["classes.json", "manifest.csv", "images/b.jpg", "inst/c.png"])
def test_missing_file_is_named_before_anything_is_written(
    release: Path, tmp_path: Path, missing: str
) -> None:
    """The error names the path and what belongs there."""
    (release / missing).unlink()
    with pytest.raises(FileNotFoundError, match="expected") as error:
        prepare("facades", release, tmp_path / "out")
    assert str(release / missing) in str(error.value)
    assert not (tmp_path / "out").exists()


def test_photograph_of_another_size_is_refused(release: Path, tmp_path: Path) -> None:
    """A label map that does not fit its photograph stops the preparation by name."""
    save(release / "images" / "b.jpg", np.zeros((16, 20, 3), np.uint8))
    with pytest.raises(MapError, match=r"train/b: the label map has 24x16 .* photograph 20x16"):
        list(prepare("facades", release, tmp_path / "out"))


def test_unknown_data_set_lists_the_known_ones(tmp_path: Path) -> None:
    """A typing mistake is answered with the names to choose from."""
    with pytest.raises(ValueError, match="cityscapes, nyu, ade20k, helen, celeba-hq, facades"):
        prepare("cityscape", tmp_path, tmp_path)
    assert len(PREPARERS) == 6


def test_nonsensical_size_is_refused(release: Path, tmp_path: Path) -> None:
    """A size of nothing is an error that names it."""
    with pytest.raises(ValueError, match="size is 0"):
        list(prepare("facades", release, tmp_path / "out", size=0))
