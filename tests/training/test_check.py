from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.check import check_folder
from training.contact_sheet import CELL, GAP, write_contact_sheet
from training.data import find_pairs
from training.layout import SUFFIXES

NAMES = ["sky", "wall", "door"]
PALETTE = [[10, 20, 30], [200, 0, 0], [0, 200, 0]]


def save(path: Path, array: NDArray[np.integer]) -> Path:
    """Write an array as an image file, folder included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def scene(height: int = 8, width: int = 12) -> NDArray[np.uint8]:
    """Upper half sky, lower half wall, with a door in the lower left corner."""
    label = np.zeros((height, width), np.uint8)
    label[height // 2 :] = 1
    label[height // 2 :, : width // 4] = 2
    return label


def write_example(folder: Path, name: str, label: NDArray[np.integer]) -> None:
    """Write a label map and a grey photograph of its size."""
    save(folder / "label" / f"{name}.png", label)
    save(folder / "image" / f"{name}.jpg", np.full((*label.shape[:2], 3), 128, np.uint8))


def write_instance(folder: Path, name: str, ids: NDArray[np.integer]) -> None:
    """Write an instance map."""
    save(folder / "instance" / f"{name}.png", ids)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a training folder that lacks nothing."""
    data = tmp_path / "data"
    write_example(data, "a", scene())
    write_example(data, "b", scene(16, 8))
    classes = {"classes": NAMES, "palette": PALETTE}
    (data / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    return data


def test_good_folder_has_no_findings(folder: Path) -> None:
    """A clean folder is described exactly: pairs, sizes and the share of every class."""
    report = check_folder(folder)
    assert report.problems == []
    assert report.warnings == []
    assert report.pairs == 2
    assert report.sizes == {(12, 8): 1, (8, 16): 1}
    total = 12 * 8 + 8 * 16
    doors = 4 * 3 + 8 * 2
    assert report.shares == pytest.approx(
        {"sky": 0.5, "wall": (total / 2 - doors) / total, "door": doors / total}
    )
    assert report.ignored == 0


def test_bad_value_is_named_with_its_first_pixel(folder: Path) -> None:
    """A label outside the classes is reported with file, value, pixel and count."""
    label = scene()
    label[2, 5:7] = 9
    path = save(folder / "label" / "a.png", label)
    (finding,) = check_folder(folder).problems
    assert (finding.path, finding.value, finding.pixel) == (path, 9, (5, 2))
    assert str(finding).startswith(
        f"{path}: value 9 at x=5, y=2 (2 pixels) is no class; classes.json names 3, 0 to 2; "
    )


def test_16_bit_value_is_not_cut_to_a_byte(folder: Path) -> None:
    """A 16-bit label of 256 is no class, although its low byte is 0."""
    label = scene().astype(np.uint16)
    label[7, 11] = 256
    save(folder / "label" / "a.png", label)
    (finding,) = check_folder(folder).problems
    assert (finding.value, finding.pixel) == (256, (11, 7))


def test_255_is_explained_and_can_be_ignored(folder: Path) -> None:
    """Unlabelled pixels are a problem unless 255 is ignored; then their share is given."""
    label = scene()
    label[0] = 255
    save(folder / "label" / "a.png", label)
    (finding,) = check_folder(folder).problems
    assert finding.value == 255
    assert "unlabelled" in finding.fix
    classes = {"classes": NAMES, "palette": PALETTE, "ignore": [255]}
    (folder / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    report = check_folder(folder)
    assert report.problems == []
    assert report.ignore == (255,)
    assert report.ignored == pytest.approx(12 / (12 * 8 + 8 * 16))


@pytest.mark.parametrize("ignore", [[1], ["sky"], [-1], 70000])
def test_only_values_without_a_class_can_be_ignored(folder: Path, ignore: object) -> None:
    """A class, a name and a value that no file holds are refused, and the value is named."""
    classes = {"classes": NAMES, "ignore": ignore}
    (folder / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    (problem,) = check_folder(folder).problems
    wrong = ignore[0] if isinstance(ignore, list) else ignore
    assert f'"ignore" names {wrong!r}' in problem.message


def test_all_problems_are_found_in_one_pass(folder: Path) -> None:
    """Unreadable, mismatched, unpaired and wrong files are all reported, each once."""
    photo = folder / "image" / "a.jpg"
    photo.write_bytes(photo.read_bytes()[:100])
    wrong_size = save(folder / "image" / "b.jpg", np.zeros((16, 9, 3), np.uint8))
    lonely = save(folder / "label" / "c.png", scene())
    jpeg = save(folder / "label" / "d.jpg", scene())
    report = check_folder(folder)
    found = {problem.path: str(problem) for problem in report.problems}
    assert len(report.problems) == len(found) == 4
    assert "damaged" in found[photo]
    assert "9x16 pixels, but label/b.png has 8x16" in found[wrong_size]
    assert "has no partner in image/" in found[lonely]
    assert ".jpg is not read from label/" in found[jpeg]
    assert report.pairs == 2


def test_painted_label_map_is_recognised_by_its_colours(folder: Path) -> None:
    """An RGB label map in the colours of classes.json comes with the class of every colour."""
    painted = np.array(PALETTE, np.uint8)[scene()]
    path = save(folder / "label" / "a.png", painted)
    (finding,) = check_folder(folder).problems
    assert finding.path == path
    assert "RGB" in finding.message
    assert finding.fix == (
        "its colours are those of classes.json: (10, 20, 30) = 0, (200, 0, 0) = 1, (0, 200, 0) = 2"
    )


def test_foreign_colours_are_counted(folder: Path) -> None:
    """An RGB label map in other colours says how many fit and names the most frequent."""
    painted = np.array([[1, 2, 3], *PALETTE[1:]], np.uint8)[scene()]
    save(folder / "label" / "a.png", painted)
    (finding,) = check_folder(folder).problems
    assert finding.fix.startswith("2 of its 3 colours are in the palette")
    assert "(1, 2, 3)" in finding.fix


def test_instance_maps_are_checked_too(folder: Path) -> None:
    """A missing and a wrongly sized instance map are problems."""
    write_instance(folder, "a", np.zeros((9, 12), np.uint16))
    found = {problem.path: problem for problem in check_folder(folder).problems}
    assert found.keys() == {folder / "instance" / "a.png", folder / "label" / "b.png"}
    wrong, lonely = found[folder / "instance" / "a.png"], found[folder / "label" / "b.png"]
    assert wrong.message == "12x9 pixels, but label/a.png has 12x8"
    assert lonely.message == "has no partner in instance/"
    assert lonely.fix == "add instance/b.png, or remove this file"


def test_instance_maps_scaled_to_black_and_white_are_suspected(folder: Path) -> None:
    """8-bit instance maps of two ids bring a warning, 16-bit ones do not."""
    for dtype, expected in ((np.uint8, 1), (np.uint16, 0)):
        for name, shape in (("a", (8, 12)), ("b", (16, 8))):
            ids = np.zeros(shape, dtype)
            ids[:, 5:] = 255
            write_instance(folder, name, ids)
        warnings = [str(warning) for warning in check_folder(folder).warnings]
        assert len(warnings) == expected
        assert all("8 bits and at most 2 ids, like 2 of 2" in warning for warning in warnings)


def test_instance_maps_that_add_nothing_are_suspected(folder: Path) -> None:
    """Instance maps with the label maps' borders only bring a warning."""
    write_instance(folder, "a", scene().astype(np.uint16) * 1000)
    write_instance(folder, "b", scene(16, 8).astype(np.uint16) * 1000)
    (warning,) = check_folder(folder).warnings
    assert warning.path == folder / "instance"


def test_classes_that_never_occur_are_named(folder: Path) -> None:
    """A class without a single pixel brings a warning."""
    classes = {"classes": [*NAMES, "tree"]}
    (folder / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    (warning,) = check_folder(folder).warnings
    assert "1 of 4 classes occur nowhere: tree" in str(warning)


def test_folder_without_classes_is_still_examined(folder: Path) -> None:
    """Without classes.json that is one problem, and the histogram goes by value."""
    (folder / "classes.json").unlink()
    report = check_folder(folder)
    assert [problem.path.name for problem in report.problems] == ["classes.json"]
    assert report.shares.keys() == {"0", "1", "2"}


def test_parent_of_the_splits_points_to_them(folder: Path) -> None:
    """Whoever checks the folder above train and val is told to check those."""
    folder.rename(folder.with_name("train"))
    fixes = [problem.fix for problem in check_folder(folder.parent).problems]
    assert any("check train in" in fix for fix in fixes)


def test_missing_folder_is_reported(tmp_path: Path) -> None:
    """A folder that does not exist is a list of problems, not an exception."""
    report = check_folder(tmp_path / "nowhere")
    assert [problem.path.name for problem in report.problems] == ["classes.json", "label", "image"]
    assert report.pairs == 0


def test_progress_counts_every_example(folder: Path) -> None:
    """The callback hears of each example once, in order."""
    heard: list[tuple[int, int]] = []
    check_folder(folder, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 2), (2, 2)]


@pytest.fixture
def drawings(tmp_path: Path) -> Path:
    """Return a training folder without labels: grey drawings and photographs."""
    data = tmp_path / "drawings"
    for name in ("a", "b"):
        save(data / "source" / f"{name}.png", np.eye(8, 12, dtype=np.uint8) * 255)
        save(data / "image" / f"{name}.jpg", np.full((8, 12, 3), 128, np.uint8))
    return data


def test_source_images_need_no_classes(drawings: Path) -> None:
    """Pictures in source/ take the place of label maps; a classes.json without classes is fine."""
    report = check_folder(drawings)
    assert (report.problems, report.warnings) == ([], [])
    assert (report.pairs, report.source_channels, report.shares) == (2, 1, {})
    (drawings / "classes.json").write_text('{"classes": []}', encoding="utf-8")
    assert check_folder(drawings).problems == []


def test_source_images_are_compared_with_their_photographs(drawings: Path) -> None:
    """Sizes, missing partners and unreadable files are found as with label maps."""
    save(drawings / "source" / "a.png", np.zeros((8, 13), np.uint8))
    lonely = save(drawings / "source" / "c.png", np.eye(8, 12, dtype=np.uint8))
    (drawings / "source" / "b.png").write_bytes(b"no picture")
    found = {problem.path.name: problem.message for problem in check_folder(drawings).problems}
    assert found["a.jpg"] == "12x8 pixels, but source/a.png has 13x8"
    assert found[lonely.name] == "has no partner in image/"
    assert "unknown format" in found["b.png"]


def test_labels_and_pictures_exclude_each_other(folder: Path, drawings: Path) -> None:
    """A folder with both, classes for pictures, and no class for labels are problems."""
    save(folder / "source" / "a.png", np.eye(8, 12, dtype=np.uint8))
    messages = [problem.message for problem in check_folder(folder).problems]
    assert "has label/ and source/" in messages
    (drawings / "classes.json").write_text('{"classes": ["edge"]}', encoding="utf-8")
    (problem,) = check_folder(drawings).problems
    assert problem.message == "names classes, but source/ holds pictures"
    (drawings / "classes.json").write_text('{"classes": []}', encoding="utf-8")
    (drawings / "source").rename(drawings / "label")
    assert check_folder(drawings).problems[0].message == "names no class"


def test_doubtful_source_images_bring_warnings(drawings: Path) -> None:
    """Drawings of 0 and 1 look black; colours in a grey set are lost."""
    save(drawings / "source" / "b.png", np.eye(8, 12, dtype=np.uint8))
    (warning,) = check_folder(drawings).warnings
    assert "b.png: is all but black, like 1 of 2" in str(warning)
    for number in range(38):  # more than are looked at to tell a grey set
        save(drawings / "source" / f"a{number}.png", np.full((8, 12), 9, np.uint8))
        save(drawings / "image" / f"a{number}.jpg", np.full((8, 12, 3), 9, np.uint8))
    save(drawings / "source" / "a0.png", np.full((8, 12, 3), (9, 0, 0), np.uint8))
    report = check_folder(drawings)
    assert report.source_channels == 1
    assert any("a0.png: has colours" in str(warning) for warning in report.warnings)


def test_contact_sheet_shows_source_images(drawings: Path, tmp_path: Path) -> None:
    """Drawing, no borders and photograph lie side by side."""
    path = tmp_path / "sheet.png"
    write_contact_sheet(drawings, path)
    with Image.open(path) as image:
        sheet = np.asarray(image)
    assert sheet[2, 2].tolist() == [255, 255, 255]
    assert sheet[2, CELL - 2].tolist() == [0, 0, 0]
    assert (sheet[:100, CELL : 2 * CELL] == 255).all()
    assert sheet[2, 2 * CELL + 2].tolist() == [128, 128, 128]


@pytest.mark.parametrize("suffix", SUFFIXES["image"])
def test_check_and_training_read_the_same_photographs(folder: Path, suffix: str) -> None:
    """A photograph in each accepted format passes the check and is found by training."""
    (folder / "image" / "a.jpg").unlink()
    save(folder / "image" / f"a{suffix}", np.full((8, 12, 3), 50, np.uint8))
    assert check_folder(folder).problems == []
    assert find_pairs(folder)[0].image.suffix == suffix


@pytest.mark.parametrize("suffix", SUFFIXES["instance"])
def test_check_and_training_read_the_same_instance_maps(folder: Path, suffix: str) -> None:
    """An instance map in each accepted format passes the check and is found by training."""
    for name, shape in (("a", (8, 12)), ("b", (16, 8))):
        ids = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
        path = folder / "instance" / f"{name}{suffix}"
        path.parent.mkdir(exist_ok=True)
        if suffix == ".npy":
            np.save(path, ids)
        else:
            save(path, ids.astype(np.uint16))
    report = check_folder(folder)
    assert (report.problems, report.warnings) == ([], [])
    instance = find_pairs(folder)[0].instance
    assert instance is not None
    assert instance.suffix == suffix


def test_contact_sheet_shows_label_borders_and_photo(folder: Path, tmp_path: Path) -> None:
    """The sheet has label colours, borders and photograph beside each other, per example."""
    path = tmp_path / "out" / "sheet.png"
    write_contact_sheet(folder, path)
    with Image.open(path) as image:
        sheet = np.asarray(image)
    # The taller example, 8x16 pixels, decides the height of the row.
    assert sheet.shape == (2 * CELL + GAP, 2 * (3 * CELL + GAP), 3)
    height = round(8 * CELL / 12)
    assert sheet[2, 2].tolist() == PALETTE[0]
    assert sheet[height - 2, 2].tolist() == PALETTE[2]
    assert sheet[2, CELL + 2].tolist() == [255, 255, 255]
    assert sheet[height // 2 + 2, 2 * CELL - 2].tolist() == [0, 0, 0]
    assert sheet[2, 2 * CELL + 2].tolist() == [128, 128, 128]


def test_contact_sheet_leaves_out_what_it_cannot_read(folder: Path, tmp_path: Path) -> None:
    """A damaged example is missing from the sheet; a folder of nothing else is refused."""
    path = tmp_path / "sheet.png"
    (folder / "image" / "b.jpg").write_bytes(b"")
    write_contact_sheet(folder, path)
    with Image.open(path) as image:
        assert image.size == (3 * CELL + GAP, round(8 * CELL / 12) + GAP)
    (folder / "image" / "a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="no example can be shown"):
        write_contact_sheet(folder, path)
