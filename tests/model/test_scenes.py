"""Drawn scenes: same seed same maps, ids that agree, files that read back exactly."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.scenes import CLASSES, PALETTE, Scene, draw_scene, write_scenes

SIZES = [(64, 64), (65, 97), (333, 255), (512, 512), (512, 128), (64, 512), (1024, 512)]
FACADE, WINDOW = CLASSES.index("facade"), CLASSES.index("window")


def shares(scene: Scene) -> np.ndarray:
    """Return the part of the pixels that each class takes."""
    return np.bincount(scene.label.ravel(), minlength=len(CLASSES)) / scene.label.size


def test_classes_are_those_of_the_facades_model() -> None:
    """The class order is the label ids' meaning, with one colour each."""
    assert CLASSES == (
        "unlabeled",
        "balcony-fence",
        "car",
        "facade",
        "fence",
        "non-building-infrastructure",
        "shop",
        "street",
        "traffic-infrastructure",
        "vegetation",
        "window",
    )
    assert len(set(PALETTE)) == len(CLASSES)


@pytest.mark.parametrize("size", [(64, 64), (320, 200)])
def test_same_seed_same_scene(size: tuple[int, int]) -> None:
    """Width, height and seed decide every pixel."""
    first, second = draw_scene(*size, seed=7), draw_scene(*size, seed=7)
    np.testing.assert_array_equal(first.label, second.label)
    np.testing.assert_array_equal(first.instance, second.instance)


def test_different_seeds_differ() -> None:
    """No two seeds share a picture, negative ones included."""
    seeds = [-2, -1, 0, 1, 2, 3, 4, 5, 2**40]
    assert len({draw_scene(128, 128, seed).instance.tobytes() for seed in seeds}) == len(seeds)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("seed", range(4))
def test_maps_fit_size_classes_and_each_other(width: int, height: int, seed: int) -> None:
    """Both maps have the asked size, legal ids, and tell of the same classes."""
    scene = draw_scene(width, height, seed)
    assert scene.label.shape == scene.instance.shape == (height, width)
    assert scene.label.dtype == np.uint8
    assert scene.instance.dtype == np.uint16
    assert scene.label.max() < len(CLASSES)
    np.testing.assert_array_equal(scene.instance // 1000, scene.label)
    # Objects count from 1; only the unlabeled background is 0.
    np.testing.assert_array_equal(scene.instance % 1000 == 0, scene.label == 0)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("seed", range(6))
def test_every_scene_shows_a_facade_with_windows(width: int, height: int, seed: int) -> None:
    """A scene is recognisable as a house: a large facade and several windows."""
    scene = draw_scene(width, height, seed)
    assert shares(scene)[FACADE] > 0.1
    assert len(np.unique(scene.instance[scene.label == WINDOW])) >= 5


def test_scenes_are_varied_and_close_to_real_proportions() -> None:
    """Over many scenes every class occurs, and the large ones take their usual part."""
    stack = np.stack([shares(draw_scene(160, 160, seed)) for seed in range(80)])
    mean = dict(zip(CLASSES, stack.mean(axis=0), strict=True))
    assert (stack > 0).any(axis=0).all()
    assert 0.35 < mean["facade"] < 0.55
    assert 0.10 < mean["unlabeled"] < 0.25
    assert 0.08 < mean["vegetation"] < 0.20
    assert 0.08 < mean["window"] < 0.18
    assert stack[:, FACADE].std() > 0.05


def test_sky_is_above_and_street_below() -> None:
    """On average the sky is in the upper half of the frame and the street in the lower."""
    labels = np.stack([draw_scene(128, 128, seed).label for seed in range(60)])
    rows = np.arange(128) / 127
    for name, low, high in (("unlabeled", 0.0, 0.4), ("street", 0.8, 1.0), ("window", 0.3, 0.7)):
        at = (labels == CLASSES.index(name)).sum(axis=(0, 2))
        assert low <= (at * rows).sum() / at.sum() <= high


@pytest.mark.parametrize("size", [(63, 512), (512, 63), (0, 0), (8193, 8192), (64, 4096)])
def test_impossible_sizes_are_refused(size: tuple[int, int], tmp_path: Path) -> None:
    """A size out of range names itself and the range, and leaves no files."""
    message = f"{size[0]}x{size[1]} pixels.*64..8192"
    with pytest.raises(ValueError, match=message):
        draw_scene(*size, seed=0)
    with pytest.raises(ValueError, match=message):
        write_scenes(tmp_path / "out", 1, *size, seed=0)
    assert not (tmp_path / "out").exists()


def test_written_files_read_back_exactly(tmp_path: Path) -> None:
    """The palette image's pixels are class ids, the 16-bit image's are instance ids."""
    names = list(write_scenes(tmp_path, 3, 96, 80, seed=11))
    assert len(set(names)) == 3
    for folder in ("label", "instance"):
        assert sorted(p.name for p in (tmp_path / folder).iterdir()) == sorted(names)
    for name, seed in zip(names, (11, 12, 13), strict=True):
        scene = draw_scene(96, 80, seed)
        with Image.open(tmp_path / "label" / name) as label:
            assert label.mode == "P"
            np.testing.assert_array_equal(np.asarray(label), scene.label)
            colours = np.asarray(label.convert("RGB"))
        np.testing.assert_array_equal(colours, np.array(PALETTE, np.uint8)[scene.label])
        with Image.open(tmp_path / "instance" / name) as instance:
            assert instance.mode == "I;16"
            np.testing.assert_array_equal(np.asarray(instance), scene.instance)


def test_writing_yields_each_name_when_its_files_exist(tmp_path: Path) -> None:
    """A caller can show progress or stop early: one scene is written per step."""
    written = write_scenes(tmp_path, 5, 64, 64, seed=0)
    name = next(written)
    assert [p.name for p in (tmp_path / "label").iterdir()] == [name]
    assert [p.name for p in (tmp_path / "instance").iterdir()] == [name]


def test_negative_count_is_refused(tmp_path: Path) -> None:
    """A negative number of scenes is an error at the call, not an empty folder."""
    with pytest.raises(ValueError, match="count is -1"):
        write_scenes(tmp_path, -1, 64, 64, seed=0)
