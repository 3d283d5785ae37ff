"""Training data: paired by name, checked, and in an order that can be resumed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.errors import MapError
from training.data import PairDataset, find_pairs, load_example, run_loader


@pytest.fixture
def folder(pairs_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(pairs_folder, tmp_path / "train"))


def dataset(folder: Path, crop: int = 32, scale: tuple[int, int] = (32, 48)) -> PairDataset:
    """Crops of the drawn pairs."""
    return PairDataset(find_pairs(folder), 11, crop, scale, seed=3)


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
    example = load_example(find_pairs(folder)[0], 11)
    assert example.index.max() >= len(np.unique(example.label)) - 1


def test_unequal_sizes_name_both_files(folder: Path) -> None:
    """A photograph of another size than its label map is refused."""
    Image.new("RGB", (10, 20)).save(folder / "image" / "0.png")
    with pytest.raises(MapError, match=r"image/0\.png: 10x20.*label/0\.png has 80x64"):
        load_example(find_pairs(folder)[0], 11)


def test_labels_out_of_range_name_the_file(folder: Path) -> None:
    """A label map with a class too many is refused before training."""
    with pytest.raises(MapError, match=r"label/0\.png: value"):
        load_example(find_pairs(folder)[0], 3)


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
