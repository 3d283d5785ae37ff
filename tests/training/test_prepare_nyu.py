from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.classes import read_classes
from model.image_io import read_instance_map, read_label_map, read_photo
from training.check import check_folder
from training.data import find_pairs
from training.prepare import prepare

h5py = pytest.importorskip("h5py")
scipy_io = pytest.importorskip("scipy.io")

NAMES = [f"class {number}" for number in range(1, 41)]
WALL, BOOK, MAGAZINE, RARE = 1, 23, 24, 894
MAPPED = {WALL: 1, BOOK: 23, MAGAZINE: 23, RARE: 40}
TOP, LEFT = 44, 40


def label_map() -> NDArray[np.uint16]:
    """Return original labels (480, 640): a wall, two books, a magazine, something rare."""
    label = np.zeros((480, 640), np.uint16)
    label[100:300, 100:500] = WALL
    label[150:160, 150:180] = BOOK
    label[170:180, 150:180] = MAGAZINE
    label[470, 600] = RARE
    label[0] = 7  # on the white border, which is cut off
    return label


def instance_map() -> NDArray[np.uint8]:
    """Return original instances: the books are 1 and 2, the magazine is 1 again."""
    instance = np.zeros((480, 640), np.uint8)
    instance[label_map() > 0] = 1
    instance[150:160, 165:180] = 2
    return instance


def write_release(source: Path) -> Path:
    """Write the three MATLAB files for three photographs, axes reversed as MATLAB stores them."""
    source.mkdir()
    photos = np.zeros((3, 480, 640, 3), np.uint8)
    photos[:, :, :, 0] = np.arange(3)[:, None, None] * 50
    photos[:, :, :, 1] = (np.arange(480) // 2)[:, None]
    photos[:, :, :, 2] = np.arange(640) // 3
    with h5py.File(source / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = photos.transpose(0, 3, 2, 1)
        file["labels"] = np.stack([label_map().T] * 3)
        file["instances"] = np.stack([instance_map().T] * 3)
    mapping = np.full((1, 894), 39, np.uint8)
    for label, value in MAPPED.items():
        mapping[0, label - 1] = value
    names = np.empty((1, 40), object)
    names[0] = NAMES
    scipy_io.savemat(source / "classMapping40.mat", {"mapClass": mapping, "className": names})
    numbers = {"trainNdxs": np.array([[1], [3]], np.uint16), "testNdxs": np.array([[2]], np.uint16)}
    scipy_io.savemat(source / "splits.mat", numbers)
    return source


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the miniature release, written once."""
    return write_release(tmp_path_factory.mktemp("nyu") / "release")


def test_labels_and_instances_come_through_exactly(release: Path, tmp_path: Path) -> None:
    """Photos are turned upright, 894 labels become 40 classes, and no two objects merge."""
    list(prepare("nyu", release, tmp_path / "out"))
    assert [pair.name for pair in find_pairs(tmp_path / "out" / "train")] == ["0001", "0003"]
    (pair,) = find_pairs(tmp_path / "out" / "val")
    assert pair.name == "0002"
    photo = read_photo(pair.image)
    assert photo.shape == (427, 561, 3)
    assert photo[100, 200].tolist() == [50, (100 + TOP) // 2, (200 + LEFT) // 3]

    original = label_map()[TOP : TOP + 427, LEFT : LEFT + 561]
    expected = np.zeros(original.shape, np.uint8)
    for label, value in MAPPED.items():
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
    assert classes.names == ("unlabelled", *NAMES)


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
