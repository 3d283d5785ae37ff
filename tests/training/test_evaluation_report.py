from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.evaluation.confusion import SegmentationScore
from training.evaluation.report import Scores, score_folder
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
    assert saved == dataclasses.asdict(scores) | {"void": [0], "classes": [], "per_image": []}
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
    (tmp_path / "classes.json").write_text('{"classes": ["sky", "roof", "door"]}', "utf-8")
    with pytest.raises(ValueError, match="knows none of the data set's classes"):
        score_folder(photos, tmp_path, weights, segmenter, 48)


def test_unknown_void_class_is_refused(
    photos: Path, real: Path, weights: Path, segmenter: Path
) -> None:
    """A void class that does not exist raises an error."""
    with pytest.raises(ValueError, match=r"void class 3 does not exist; classes are 0\.\.2"):
        score_folder(photos, real, weights, segmenter, 48, void=(3,))


def test_worst_photographs_come_first(
    photos: Path, real: Path, weights: Path, segmenter: Path
) -> None:
    """A photograph without its layout is the least faithful, and comes first."""
    Image.fromarray(np.full((48, 48, 3), 90, np.uint8)).save(photos / "south.png")
    scores = score_folder(photos, real, weights, segmenter, 48, void=(0,))
    faithful = [image.faithfulness or 0 for image in scores.per_image]
    assert scores.per_image[0].name == "south"
    assert faithful == sorted(faithful)
    assert faithful[-1] > 0.5
    others = scores.per_image[1:]
    assert all(image.faithfulness == image.faithfulness_real for image in others)


def test_classes_are_scored_one_by_one(
    photos: Path, real: Path, weights: Path, segmenter: Path
) -> None:
    """Shares add up; the mean of the classes' IoU is the mean IoU; void classes have none."""
    scores = score_folder(photos, real, weights, segmenter, 48, void=(0,))
    assert [row.name for row in scores.classes] == ["void", "wall", "window"]
    assert sum(row.share for row in scores.classes) == pytest.approx(1)
    assert scores.classes[0].iou_real is None
    ious = [row.iou_synthesised for row in scores.classes[1:]]
    assert scores.segmentation_void_excluded is not None
    mean = scores.segmentation_void_excluded.synthesised.mean_iou
    assert np.mean([iou for iou in ious if iou is not None]) == pytest.approx(mean)


def test_diversity_is_the_distance_between_styles(
    photos: Path, real: Path, weights: Path, tmp_path: Path
) -> None:
    """Equal photographs have none; of three styles every pair counts."""
    same = score_folder(photos, real, weights, None, 48, other_styles=(photos,))
    assert same.diversity_lpips_alex == 0
    other = tmp_path / "other"
    other.mkdir()
    for name in NAMES:
        pixels = np.asarray(Image.open(photos / f"{name}.png"))
        Image.fromarray(255 - pixels).save(other / f"{name}.png")
    two = score_folder(photos, real, weights, None, 48, other_styles=(other,))
    three = score_folder(photos, real, weights, None, 48, other_styles=(other, photos))
    assert two.diversity_lpips_alex is not None
    assert two.diversity_lpips_alex > 0.01
    assert three.diversity_lpips_alex == pytest.approx(two.diversity_lpips_alex * 2 / 3)
    assert two.lpips_alex == 0  # of the first folder alone


def test_instance_maps_bring_the_boundary_score(
    photos: Path, real: Path, weights: Path, tmp_path: Path
) -> None:
    """With instance/ the borders are looked for in both photographs; flat ones show none."""
    data = tmp_path / "data"
    data.mkdir()
    for kind in ("label", "image"):
        (data / kind).symlink_to(real / kind)
    (data / "instance").symlink_to(real / "label")
    Image.fromarray(np.full((48, 48, 3), 90, np.uint8)).save(photos / "south.png")
    scores = score_folder(photos, data, weights, None, 48)
    by_name = {image.name: image for image in scores.per_image}
    assert by_name["north"].boundaries == by_name["north"].boundaries_real
    assert by_name["south"].boundaries is not None
    assert by_name["south"].boundaries.found == 0
    assert scores.boundaries is not None
    assert 0 < scores.boundaries.synthesised.found < scores.boundaries.real.found


def test_page_holds_everything(
    photos: Path, real: Path, weights: Path, segmenter: Path, tmp_path: Path
) -> None:
    """The report is one file: pictures inside, scenes by faithfulness, names escaped."""
    page = tmp_path / "new" / "report.html"
    scores = score_folder(photos, real, weights, segmenter, 48, void=(0,), page=page)
    text = page.read_text(encoding="utf-8")
    assert text.count("<img") == text.count('src="data:image/') == 4 * 5
    assert "http://" not in text
    assert "https://" not in text
    places = [text.index(f"<b>{image.name}</b>") for image in scores.per_image]
    assert places == sorted(places)
    assert f"{scores.lpips_alex:.3f}" in text
    assert "not measured: no Inception weights were given" in text
