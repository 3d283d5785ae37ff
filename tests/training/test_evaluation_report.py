from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.evaluation.report import (
    Scores,
    SegmentationScore,
    confusion_matrix,
    score_folder,
    segmentation_score,
    style_locality,
)
from training.evaluation.segmenter import SegmenterConfig, train_segmenter

COLOURS = np.array([[230, 220, 40], [200, 60, 40], [40, 90, 220]], np.uint8)
NAMES = ("north", "east", "south", "west")


def scene(seed: int, size: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Draw a photo (size, size, 3) of three coloured classes, and its label map."""
    rng = np.random.default_rng(seed)
    label = np.full((size, size), 1, np.uint8)
    label[: rng.integers(8, 16)] = 0
    top, left = rng.integers(16, size // 2, 2)
    label[top : top + 20, left : left + 20] = 2
    noise = rng.integers(-20, 21, (size, size, 3))
    return (COLOURS[label] + noise).clip(0, 255).astype(np.uint8), label


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of four scenes; class 0 is void."""
    folder = tmp_path_factory.mktemp("real")
    for kind in ("label", "image"):
        (folder / kind).mkdir()
    for seed, name in enumerate(NAMES):
        photo, label = scene(seed)
        Image.fromarray(photo).save(folder / "image" / f"{name}.png")
        Image.fromarray(label).save(folder / "label" / f"{name}.png")
    (folder / "classes.json").write_text('{"classes": ["void", "wall", "window"]}', "utf-8")
    return folder


@pytest.fixture(scope="module")
def segmenter(real: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmenter trained for a moment on those scenes."""
    out = tmp_path_factory.mktemp("segmenter") / "segmenter.safetensors"
    config = SegmenterConfig(str(real), steps=40, batch=2, size=32, width=8, learning_rate=1e-2)
    train_segmenter(config, weights, out)
    return out


@pytest.fixture
def photos(real: Path, tmp_path: Path) -> Path:
    """A folder of perfect syntheses: the real photographs under their own names."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in NAMES:
        Image.open(real / "image" / f"{name}.png").save(folder / f"{name}.png")
    return folder


def test_perfect_photographs_get_perfect_scores(
    photos: Path, real: Path, weights: Path, segmenter: Path
) -> None:
    """The real photographs are at distance 0 and reach the oracle."""
    scores = score_folder(photos, real, weights, segmenter, 48, void=(0,))
    assert (scores.images, scores.size, scores.void) == (4, 48, (0,))
    assert scores.lpips_alex == 0.0
    assert scores.frechet_distance_alexnet_relu5 == pytest.approx(0.0, abs=1e-6)
    for comparison in (scores.segmentation_raw, scores.segmentation_void_excluded):
        assert comparison is not None
        assert comparison.synthesised == comparison.real
        assert comparison.ratio == SegmentationScore(1.0, 1.0)
        assert comparison.real.pixel_accuracy > 0.8


def test_wrong_photographs_score_worse(
    photos: Path, real: Path, weights: Path, segmenter: Path
) -> None:
    """Photographs in the colours of other classes are far away and fool no segmenter."""
    for name in NAMES:
        label = np.asarray(Image.open(real / "label" / f"{name}.png"))
        Image.fromarray(COLOURS[::-1][label]).save(photos / f"{name}.png")
    scores = score_folder(photos, real, weights, segmenter, 48, void=(0,))
    assert scores.lpips_alex > 0.01
    assert scores.frechet_distance_alexnet_relu5 > 1e-6
    assert scores.segmentation_raw is not None
    assert scores.segmentation_raw.ratio.pixel_accuracy < 0.9
    assert scores.segmentation_raw.ratio.mean_iou < 0.9


def test_photographs_are_paired_by_name(photos: Path, real: Path, weights: Path) -> None:
    """The same pictures under exchanged names are another set's photographs, one by one."""
    (photos / "north.png").rename(photos / "spare.png")
    (photos / "south.png").rename(photos / "north.png")
    (photos / "spare.png").rename(photos / "south.png")
    scores = score_folder(photos, real, weights, None, 48)
    assert scores.lpips_alex > 0.01
    assert scores.frechet_distance_alexnet_relu5 == pytest.approx(0.0, abs=1e-6)


def test_scores_without_a_segmenter(photos: Path, real: Path, weights: Path) -> None:
    """Without a segmenter there are no segmentation scores, and no classes.json is needed."""
    scores = score_folder(photos, real, weights, None, 48)
    assert scores.segmentation_raw is None
    assert scores.segmentation_void_excluded is None


def test_larger_photographs_are_compared_at_the_size(
    photos: Path, real: Path, weights: Path
) -> None:
    """Photographs synthesised at twice the size are brought to the size of the comparison."""
    for name in NAMES:
        picture = Image.open(photos / f"{name}.png")
        picture.resize((96, 96), Image.Resampling.NEAREST).save(photos / f"{name}.png")
    scores = score_folder(photos, real, weights, None, 32)
    assert scores.size == 32
    assert 0 <= scores.lpips_alex < 0.1


def test_scores_are_saved_as_json(tmp_path: Path) -> None:
    """The file holds every field under its full name."""
    scores = Scores(4, 48, 0.5, 6.5, (0,), None, None)
    scores.save(tmp_path / "scores.json")
    saved = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert saved == dataclasses.asdict(scores) | {"void": [0]}
    assert saved["frechet_distance_alexnet_relu5"] == 6.5


def test_missing_photographs_are_named(photos: Path, real: Path, weights: Path) -> None:
    """The error names the first missing file and counts the rest."""
    (photos / "south.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"south\.png is missing \(1 of 4 are\)"):
        score_folder(photos, real, weights, None, 48)


def test_photographs_below_the_size_are_refused(photos: Path, real: Path, weights: Path) -> None:
    """Nothing is scored enlarged."""
    with pytest.raises(ValueError, match=r"east\.png: 48x48 pixels, smaller than the size 64"):
        score_folder(photos, real, weights, None, 64)


def test_other_proportions_are_refused(photos: Path, real: Path, weights: Path) -> None:
    """A photograph that was cut or stretched is not compared."""
    Image.open(photos / "east.png").resize((96, 48)).save(photos / "east.png")
    with pytest.raises(ValueError, match=r"east\.png: 96x48 pixels, but .* has 48x48"):
        score_folder(photos, real, weights, None, 48)


def test_segmenter_of_other_classes_is_refused(
    photos: Path, real: Path, weights: Path, segmenter: Path, tmp_path: Path
) -> None:
    """A segmenter that knows other classes cannot judge the data."""
    for kind in ("label", "image"):
        (tmp_path / kind).symlink_to(real / kind)
    (tmp_path / "classes.json").write_text('{"classes": ["sky", "wall", "window"]}', "utf-8")
    with pytest.raises(ValueError, match="trained on the classes void, wall, window, but"):
        score_folder(photos, tmp_path, weights, segmenter, 48)


def test_unknown_void_class_is_refused(
    photos: Path, real: Path, weights: Path, segmenter: Path
) -> None:
    """A void class that does not exist raises an error."""
    with pytest.raises(ValueError, match=r"void class 3 does not exist; classes are 0\.\.2"):
        score_folder(photos, real, weights, segmenter, 48, void=(3,))


def test_confusion_matrix_counts_pixels() -> None:
    """Rows are the true classes and last the pixels of no class; columns the predicted ones."""
    truth = np.array([[0, 0, 1], [2, 2, 255]], np.uint8)
    predicted = np.array([[0, 1, 1], [2, 0, 1]], np.uint8)
    assert confusion_matrix(truth, predicted, 3).tolist() == [
        [1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 1, 0],
    ]  # fmt: skip


def test_raw_score_counts_every_pixel() -> None:
    """Pixels of no class are errors; classes that the maps lack are not averaged."""
    confusion = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0], [2, 2, 0]])
    score = segmentation_score(confusion, None)
    assert score.pixel_accuracy == pytest.approx(9 / 16)
    # Unions: class 0 has 8 true + 9 found - 6, class 1 has 4 + 7 - 3.
    assert score.mean_iou == pytest.approx((6 / 11 + 3 / 8) / 2)


def test_void_excluded_score_leaves_void_pixels_out() -> None:
    """Neither void pixels nor those of no class count; finding void elsewhere is an error."""
    confusion = np.array([[6, 2, 4], [1, 3, 0], [0, 1, 5], [2, 2, 2]])
    score = segmentation_score(confusion, (0,))
    assert score.pixel_accuracy == pytest.approx(8 / 10)
    # Unions: class 1 has 4 true + 4 found - 3, class 2 has 6 + 5 - 5.
    assert score.mean_iou == pytest.approx((3 / 5 + 5 / 6) / 2)


def test_all_void_is_refused() -> None:
    """Maps without a single counted pixel raise an error instead of giving NaN."""
    confusion = np.array([[5, 1], [0, 0], [0, 0]])
    with pytest.raises(ValueError, match="all pixels of the label maps are void"):
        segmentation_score(confusion, (0,))


def test_style_locality_separates_inside_and_outside() -> None:
    """The change is averaged over the pixels of either side and over the channels."""
    before = np.full((4, 4, 3), 100, np.uint8)
    after = before.copy()
    mask = np.zeros((4, 4), bool)
    mask[:2, :2] = True
    after[:2, :2] = (40, 100, 130)  # 60, 0 and 30 grey levels
    after[3, 3] = 106
    assert style_locality(before, after, mask) == {"inside": 30.0, "outside": 0.5}


@pytest.mark.parametrize("inside", [True, False])
def test_style_locality_needs_both_sides(inside: bool) -> None:
    """A mask of the whole image, or of nothing, has no other side."""
    photo = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="inside and outside"):
        style_locality(photo, photo, np.full((4, 4), inside))


def test_style_locality_refuses_unequal_sizes() -> None:
    """The error names the three sizes."""
    photo = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=r"sizes differ: .* mask \(2, 2\)"):
        style_locality(photo, photo, np.ones((2, 2), bool))
