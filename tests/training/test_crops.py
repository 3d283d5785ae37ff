"""Crops: of legal sizes in every mode, and aligned whatever is done to them."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.scenes import CLASSES, PALETTE
from training.config import Resize, TrainConfig
from training.crops import CropRule, Example, crop_rule, resize_example, warped_grid
from training.data import PairDataset, open_folder, photo_size
from training.finish import write_bundle
from training.loop import train


def blocks(height: int, width: int) -> NDArray[np.uint8]:
    """A label map of large squares."""
    side = min(height, width) // 2
    grid = np.random.default_rng(0).integers(0, 11, (height // side + 1, width // side + 1))
    return grid.repeat(side, 0).repeat(side, 1)[:height, :width].astype(np.uint8)


def example(height: int = 64, width: int = 80) -> Example:
    """Squares, whose photograph shows every pixel in its class's colour."""
    label = blocks(height, width)
    ids = label.astype(np.int32)
    return Example(label, ids, ids, np.array(PALETTE, np.uint8)[label])


def cuts(rule: CropRule, scene: Example, count: int = 8) -> list[Example]:
    """Several crops of one example."""
    return [rule.cut(scene, np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("resize", get_args(Resize))
@pytest.mark.parametrize("size", [(64, 80), (33, 47), (20, 300), (546, 500), (7, 9)])
@pytest.mark.parametrize("warp", [0.0, 1.0])
def test_every_mode_ends_at_a_legal_size(
    resize: Resize, size: tuple[int, int], warp: float
) -> None:
    """Both sides are multiples of 16 and at least 32, and within what is announced."""
    rule = CropRule(resize, 64, (64, 100), 16, warp)
    least, most = np.min([*rule.sizes(*size)], axis=0), np.max([*rule.sizes(*size)], axis=0)
    for crop in cuts(rule, example(*size), 3):
        height, width = crop.size
        assert height % 16 == width % 16 == 0
        assert min(height, width) >= 32
        assert crop.label.shape == crop.instance.shape == (height, width)
        assert crop.image.shape == (height, width, 3)
        assert (least <= crop.size).all()
        assert (crop.size <= most).all()


@pytest.mark.parametrize(
    ("resize", "scale", "size", "wanted"),
    [
        ("random_scale", (64, 100), (546, 500), (64, 64)),
        ("resize_and_crop", (64, 100), (546, 500), (64, 64)),
        ("scale_width", (512, 512), (100, 200), (256, 512)),
        ("scale_width", (512, 512), (105, 200), (272, 512)),  # 268.8 rounds up
        ("scale_width_and_crop", (128, 128), (50, 200), (32, 64)),
        ("crop", (1, 1), (546, 40), (64, 32)),
        ("crop", (1, 1), (20, 500), (32, 64)),
        ("none", (1, 1), (546, 375), (544, 368)),
        ("none", (1, 1), (552, 376), (560, 384)),  # halves round up
        ("none", (1, 1), (10, 700), (32, 704)),
    ],
)
def test_sizes_of_the_modes(
    resize: Resize, scale: tuple[int, int], size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    """What the reference's modes make of a picture, at the nearest legal size."""
    rule = CropRule(resize, 64, scale, 16)
    assert rule.sizes(*size) == {wanted}
    assert rule.cut(example(*size), np.random.default_rng(0)).size == wanted


def test_crop_keeps_pixels_as_they_are() -> None:
    """The mode that only cuts resamples nothing: its crops are windows of the picture."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3), np.uint8)
    ids = np.arange(2000, dtype=np.int32).reshape(40, 50)
    crop = CropRule("crop", 32, (1, 1), 16).cut(Example(image, ids, ids, image), rng)
    assert np.array_equal(crop.image.reshape(-1, 3), image.reshape(-1, 3)[crop.index.ravel()])


@pytest.mark.parametrize("resize", ["random_scale", "none"])
def test_warped_maps_and_photograph_stay_aligned(resize: Resize) -> None:
    """Nearly every pixel still has its class's colour, though shapes have changed."""
    scene = example()
    warped = cuts(CropRule(resize, 64, (64, 64), 16, 1.0), scene)
    straight = cuts(CropRule(resize, 64, (64, 64), 16), scene)
    for crop, plain in zip(warped, straight, strict=True):
        assert np.array_equal(crop.label, crop.index)
        wanted = np.array(PALETTE)[crop.label]
        assert (np.abs(crop.image - wanted).max(2) <= 60).mean() > 0.8
        assert (crop.label != plain.label).mean() > 0.02
        assert set(np.unique(crop.label)) <= set(np.unique(scene.label))


def test_warp_is_a_share_of_the_crops() -> None:
    """At one half, some crops are the straight ones and some are not."""
    straight = cuts(CropRule("none", 64, (1, 1), 16), example(), 20)
    half = cuts(CropRule("none", 64, (1, 1), 16, 0.5), example(), 20)
    same = sum(np.array_equal(a.image, b.image) for a, b in zip(half, straight, strict=True))
    assert 4 <= same <= 16


def test_warps_are_smooth_and_near_the_original() -> None:
    """Neighbouring pixels come from neighbouring places, no further off than a quarter."""
    for seed in range(20):
        grid = warped_grid(64, 96, np.random.default_rng(seed))
        assert np.abs(np.diff(grid[0], axis=0) - 1).max() < 0.7
        assert np.abs(np.diff(grid[1], axis=1) - 1).max() < 0.7
        assert np.abs(grid - np.indices((64, 96))).max() < 0.35 * 96


@pytest.mark.parametrize("channels", [1, 3])
def test_source_images_are_resized_and_warped_like_photographs(channels: int) -> None:
    """A picture in place of the label map goes through the same as the photograph itself."""
    scene = example()
    picture = scene.image[..., :channels]
    source = Example(picture, scene.instance, scene.index, scene.image)
    bicubic = Image.fromarray(picture[..., 0]).resize((30, 40), Image.Resampling.BICUBIC)
    assert np.array_equal(resize_example(source, 40, 30).label[..., 0], np.array(bicubic))
    for crop in cuts(CropRule("random_scale", 32, (32, 48), 16, 0.5), source):
        assert crop.label.shape == (32, 32, channels)
        assert np.array_equal(crop.label, crop.image[..., :channels])


def test_impossible_rules_are_refused() -> None:
    """The message names the setting, its value and what would do."""
    with pytest.raises(ValueError, match="crop 40 is not a multiple of 16, at least 32"):
        CropRule("random_scale", 40, (64, 64), 16)
    with pytest.raises(ValueError, match="crop 16 is not a multiple of 16, at least 32"):
        CropRule("crop", 16, (64, 64), 16)
    with pytest.raises(ValueError, match="smaller than the crop"):
        CropRule("scale_width_and_crop", 64, (32, 64), 16)
    with pytest.raises(ValueError, match="least length first"):
        CropRule("scale_width", 64, (64, 32), 16)
    with pytest.raises(ValueError, match=r"warp is 1\.5"):
        CropRule("none", 64, (64, 64), 16, 1.5)


def test_legal_sizes_suit_generator_and_encoder() -> None:
    """The style encoder halves four times, however few times the generator does."""
    config = TrainConfig(data="", downsamplings=2, enhancers=1, styles=0)
    assert crop_rule(config).multiple == 8
    assert crop_rule(TrainConfig(data="", downsamplings=2)).multiple == 16
    assert crop_rule(TrainConfig(data="", downsamplings=4, enhancers=1)).multiple == 32


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two drawn pairs of different sizes, the second photograph stored on its side."""
    folder = tmp_path / "mixed"
    for name, size in (("a", (48, 64)), ("b", (70, 40))):
        label = blocks(*size)
        for kind, array in (("label", label), ("image", np.array(PALETTE, np.uint8)[label])):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / kind / f"{name}.png")
    photo = folder / "image" / "b.png"
    with Image.open(photo) as image:
        exif = image.getexif()
        exif[0x0112] = 6  # to be turned clockwise
        image.transpose(Image.Transpose.ROTATE_90).save(photo.with_suffix(".jpg"), exif=exif)
    photo.unlink()
    names = ", ".join(f'"{name}"' for name in CLASSES)
    (folder / "classes.json").write_text(f'{{"classes": [{names}]}}', encoding="utf-8")
    return folder


def test_a_batch_needs_crops_of_one_size(mixed: Path) -> None:
    """Two sizes in one batch are refused before training, naming both and a way out."""
    data = open_folder(mixed)
    assert photo_size(mixed / "image" / "b.jpg") == (70, 40)
    PairDataset(data, CropRule("random_scale", 32, (32, 64), 16), 0).require_one_size(2)
    whole = PairDataset(data, CropRule("none", 32, (32, 64), 16), 0)
    whole.require_one_size(1)
    with pytest.raises(
        ValueError, match=r"batch is 2, but resize 'none'.*64x48 .*48x64 .*batch to"
    ):
        whole.require_one_size(2)
    with pytest.raises(ValueError, match="different sizes"):
        PairDataset(data, CropRule("scale_width", 32, (32, 64), 16), 0).require_one_size(2)


def whole(data: Path, resize: Resize) -> TrainConfig:
    """A run of two images on whole pictures."""
    return TrainConfig(
        data=str(data), images=2, resize=resize, scale=(48, 48), warp=0.5, width=4,
        downsamplings=2, blocks=1, discriminator_width=4, workers=0, perceptual=0.0, device="cpu",
    )  # fmt: skip


@pytest.mark.parametrize("resize", ["none", "scale_width"])
def test_pictures_of_any_shape_train(mixed: Path, tmp_path: Path, resize: Resize) -> None:
    """A run on whole pictures of two sizes ends in a bundle that knows its styles."""
    config = whole(mixed, resize)
    state = train(config, tmp_path / "run")
    assert state.position == 2
    bundle = write_bundle(state, config, tmp_path / "bundle", "whole")
    assert bundle.trained_size in {(64, 48), (48, 64), (48, 32), (48, 80)}
    assert bundle.styles


def test_styles_that_the_norm_removes_are_reported(
    mixed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One code for a whole picture is a constant, which instance norm takes away."""
    (mixed / "label").rename(mixed / "source")
    (mixed / "classes.json").unlink()
    state = train(whole(mixed, "none"), tmp_path / "run")
    assert not state.input.edges
    assert "set norm to batch" in caplog.text
