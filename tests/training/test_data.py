"""Training data: paired by name, checked, and in an order that can be resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.codec import NO_CLASS
from model.errors import MapError
from model.spec import InputSpec
from training.crops import CropRule
from training.data import PairDataset, find_pairs, load_example, open_folder, run_loader


@pytest.fixture
def folder(pairs_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(pairs_folder, tmp_path / "train"))


def dataset(folder: Path, crop: int = 32, scale: tuple[int, int] = (32, 48)) -> PairDataset:
    """Crops of the drawn pairs."""
    return PairDataset(open_folder(folder), CropRule("random_scale", crop, scale, 16), seed=3)


def test_pairs_are_matched_by_name(folder: Path) -> None:
    """A photograph may have another suffix than its label map."""
    photo = folder / "image" / "2.png"
    Image.open(photo).save(folder / "image" / "2.jpg")
    photo.unlink()
    pairs = find_pairs(folder)
    assert [p.name for p in pairs] == ["0", "1", "2", "3", "4"]
    assert pairs[2].image.name == "2.jpg"


@pytest.mark.parametrize(
    ("missing", "where"), [("image/3.png", "image"), ("label/3.png", "label"),
                           ("instance/3.png", "instance")]
)  # fmt: skip
def test_a_file_without_partner_is_named(folder: Path, missing: str, where: str) -> None:
    """The error names the file and the folder that lacks it."""
    (folder / missing).unlink()
    with pytest.raises(ValueError, match=rf"'3' has no file in {where}/"):
        find_pairs(folder)


def test_two_photographs_of_one_name_are_refused(folder: Path) -> None:
    """Nothing is picked silently."""
    shutil.copy(folder / "image" / "1.png", folder / "image" / "1.jpg")
    with pytest.raises(ValueError, match="share one name"):
        find_pairs(folder)


def test_missing_folders_are_named(tmp_path: Path) -> None:
    """An empty data set says what belongs there."""
    with pytest.raises(FileNotFoundError, match=r"label.*no such folder"):
        find_pairs(tmp_path)


def test_instances_are_optional(folder: Path) -> None:
    """Without instance maps the connected regions of the label map are used."""
    shutil.rmtree(folder / "instance")
    example = load_example(find_pairs(folder)[0], InputSpec(11))
    assert example.index.max() >= len(np.unique(example.label)) - 1


def test_unequal_sizes_name_both_files(folder: Path) -> None:
    """A photograph of another size than its label map is refused."""
    Image.new("RGB", (10, 20)).save(folder / "image" / "0.png")
    with pytest.raises(MapError, match=r"image/0\.png: 10x20.*label/0\.png has 80x64"):
        load_example(find_pairs(folder)[0], InputSpec(11))


def test_labels_out_of_range_name_the_file(folder: Path) -> None:
    """A label map with a class too many is refused before training."""
    with pytest.raises(MapError, match=r"label/0\.png: value"):
        load_example(find_pairs(folder)[0], InputSpec(3))


def test_items_depend_on_position_alone(folder: Path) -> None:
    """The same place of a run gives the same crop; the next round other ones."""
    data = dataset(folder)
    assert all(torch.equal(data[7][k], data[7][k]) for k in data[7])
    assert not torch.equal(data[2]["image"], data[2 + len(data)]["image"])


def test_every_round_sees_every_file(folder: Path) -> None:
    """Five positions in a row show five different photographs at full size."""
    data = dataset(folder, crop=64, scale=(64, 64))
    first = {data[i]["image"].float().mean().item() for i in range(5)}
    assert len(first) == 5


def test_maps_and_photograph_stay_aligned(folder: Path) -> None:
    """After scaling, cropping and flipping every pixel still has its class's colour."""
    from model.scenes import PALETTE

    data = dataset(folder, crop=48, scale=(64, 64))
    for position in range(6):
        item = data[position]
        wanted = np.array(PALETTE)[item["label"].numpy()]
        found = item["image"].permute(1, 2, 0).numpy().astype(int)
        assert (np.abs(found - wanted - 15) <= 15).mean() > 0.99


def test_scale_must_hold_the_crop(folder: Path) -> None:
    """A scale smaller than the crop is refused."""
    with pytest.raises(ValueError, match="smaller than the crop"):
        dataset(folder, crop=64, scale=(32, 64))


@pytest.mark.parametrize("workers", [0, 1])
def test_loader_continues_where_it_is_told(folder: Path, workers: int) -> None:
    """Starting at position 4 gives the batches that an uninterrupted run has from there."""
    data = dataset(folder)
    whole = [b["image"] for b in run_loader(data, 0, 12, 2, workers)]
    rest = [b["image"] for b in run_loader(data, 4, 12, 2, workers)]
    assert len(whole) == 6
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], rest, strict=True))


@pytest.fixture
def pictures(folder: Path) -> Path:
    """The pairs without labels: their photographs, in grey, are the source images."""
    (folder / "source").mkdir()
    for path in (folder / "image").iterdir():
        Image.open(path).convert("L").save(folder / "source" / f"{path.stem}.jpg")
    shutil.rmtree(folder / "label")
    (folder / "classes.json").unlink()
    return folder


def test_source_images_take_the_place_of_label_maps(pictures: Path) -> None:
    """No classes are needed; instances still give edges, and without them there are none."""
    data = open_folder(pictures)
    assert data.input(3) == InputSpec(0, edges=True, style_channels=3, image_channels=1)
    item = PairDataset(data, CropRule("random_scale", 32, (32, 48), 16), seed=3)[0]
    assert item["label"].shape == (32, 32, 1)
    assert item["label"].dtype == torch.uint8
    assert item["index"].max() > 0
    shutil.rmtree(pictures / "instance")
    data = open_folder(pictures)
    assert data.input() == InputSpec(0, edges=False, image_channels=1)
    assert load_example(data.pairs[0], data.input()).index.max() == 0


def test_one_coloured_picture_makes_three_channels(pictures: Path) -> None:
    """Grey pictures among coloured ones are read as RGB."""
    Image.new("RGB", (80, 64), (200, 10, 10)).save(pictures / "source" / "4.jpg")
    data = open_folder(pictures)
    assert data.channels == 3
    assert load_example(data.pairs[0], data.input()).label.shape == (64, 80, 3)


def test_labels_and_pictures_exclude_each_other(folder: Path) -> None:
    """A folder with both, classes for pictures, and no classes for labels are refused."""
    (folder / "source").mkdir()
    with pytest.raises(ValueError, match="has label/ and source/"):
        open_folder(folder)
    shutil.rmtree(folder / "source")
    (folder / "label").rename(folder / "source")
    with pytest.raises(ValueError, match=r"classes\.json: names 11 classes, but source/"):
        open_folder(folder)
    (folder / "source").rename(folder / "label")
    (folder / "classes.json").write_text('{"classes": []}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"classes\.json: names no class"):
        open_folder(folder)


def test_ignored_labels_are_no_class(folder: Path) -> None:
    """A value named in classes.json is read as 255 and refused without being named."""
    path = folder / "label" / "0.png"
    label = np.array(Image.open(path)).astype(np.uint16)
    label[:20] = 999
    Image.fromarray(label).save(path)
    with pytest.raises(MapError, match=r"0\.png: value 999"):
        load_example(open_folder(folder).pairs[0], InputSpec(11))
    description = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
    text = json.dumps({**description, "ignore": [999]})
    (folder / "classes.json").write_text(text, encoding="utf-8")
    data = open_folder(folder)
    assert data.ignore == (999,)
    example = load_example(data.pairs[0], data.input(), data.ignore)
    assert (example.label[:20] == NO_CLASS).all()
    assert (example.label[20:] < 11).all()
