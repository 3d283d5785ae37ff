from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from model.classes import read_classes
from model.image_io import read_instance_map, read_label_map, read_photo
from tests.training.releases import NYU_MAPPED, NYU_NAMES, nyu_labels, write_nyu
from training.check import check_folder
from training.data import find_pairs
from training.prepare import prepare

h5py = pytest.importorskip("h5py")
scipy_io = pytest.importorskip("scipy.io")

TOP, LEFT = 44, 40


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the miniature release, written once."""
    return write_nyu(tmp_path_factory.mktemp("nyu") / "release")


def test_labels_and_instances_come_through_exactly(release: Path, tmp_path: Path) -> None:
    """Photos are turned upright, 894 labels become 40 classes, and no two objects merge."""
    list(prepare("nyu", release, tmp_path / "out"))
    assert [pair.name for pair in find_pairs(tmp_path / "out" / "train")] == ["0001", "0003"]
    (pair,) = find_pairs(tmp_path / "out" / "val")
    assert pair.name == "0002"
    photo = read_photo(pair.image)
    assert photo.shape == (427, 561, 3)
    assert photo[100, 200].tolist() == [50, (100 + TOP) // 2, (200 + LEFT) // 3]

    original = nyu_labels()[TOP : TOP + 427, LEFT : LEFT + 561]
    expected = np.zeros(original.shape, np.uint8)
    for label, value in NYU_MAPPED.items():
        expected[original == label] = value
    np.testing.assert_array_equal(read_label_map(pair.label), expected)

    assert pair.instance is not None
    ids = read_instance_map(pair.instance)
    assert ids[120 - TOP, 120 - LEFT] == 1001
    assert ids[155 - TOP, 155 - LEFT] == 23001
    assert ids[155 - TOP, 170 - LEFT] == 23002
    # The magazine has the first book's class and original number, but is another object.
    assert ids[175 - TOP, 155 - LEFT] == 23003
    assert ids[470 - TOP, 600 - LEFT] == 40001
    assert np.unique(ids).tolist() == [0, 1001, 23001, 23002, 23003, 40001]


def test_result_passes_the_check(release: Path, tmp_path: Path) -> None:
    """The prepared folders have 41 named classes and no problem."""
    list(prepare("nyu", release, tmp_path / "out"))
    for split in ("train", "val"):
        assert check_folder(tmp_path / "out" / split).problems == []
    classes = read_classes(tmp_path / "out" / "val" / "classes.json")
    assert classes.names == ("unlabelled", *NYU_NAMES)


def test_missing_and_wrong_files_are_named(release: Path, tmp_path: Path) -> None:
    """Each of the three files is asked for by name, and a wrong one is recognised."""
    source = tmp_path / "release"
    source.mkdir()
    for name in ("nyu_depth_v2_labeled.mat", "classMapping40.mat", "splits.mat"):
        with pytest.raises(FileNotFoundError, match=name):
            prepare("nyu", source, tmp_path / "out")
        (source / name).symlink_to(release / name)
    (source / "splits.mat").unlink()
    scipy_io.savemat(source / "splits.mat", {"trainNdxs": [1], "testNdxs": [4]})
    with pytest.raises(ValueError, match=r"testNdxs names photograph 4, but .* has 3"):
        prepare("nyu", source, tmp_path / "out")
    (source / "classMapping40.mat").unlink()
    scipy_io.savemat(source / "classMapping40.mat", {"mapClass": [1]})
    with pytest.raises(ValueError, match="no 'className'"):
        prepare("nyu", source, tmp_path / "out")


def test_missing_extra_is_named(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without h5py the error says which extra to install."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"hdsynth\[data\]"):
        prepare("nyu", release, tmp_path / "out")
