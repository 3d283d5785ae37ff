from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from training.evaluation.boundaries import TOLERANCE, boundary_score

SIZE = 64


def instances() -> np.ndarray:
    """Draw the instance map of two rectangles on a background."""
    ids = np.zeros((SIZE, SIZE), np.int32)
    ids[8:30, 8:30] = 70_000
    ids[30:56, 20:50] = 70_001
    return ids


def photo(ids: np.ndarray) -> np.ndarray:
    """Colour every instance evenly."""
    grey = np.select([ids == 70_000, ids == 70_001], [200, 120], 40).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def test_visible_borders_are_found() -> None:
    """Where every instance has its own grey, all borders show."""
    score = boundary_score(photo(instances()), instances())
    assert score is not None
    assert score.found == 1
    assert score.chance < 0.4


def test_contrast_and_brightness_do_not_matter() -> None:
    """A darker picture of the same scene shows the same borders."""
    bright = photo(instances())
    assert boundary_score(bright // 4, instances()) == boundary_score(bright, instances())


def test_borders_within_the_tolerance_are_found() -> None:
    """Two pixels aside still counts; far away does not."""
    moved = [np.roll(photo(instances()), shift, axis=1) for shift in (TOLERANCE, 12)]
    near, far = (boundary_score(picture, instances()) for picture in moved)
    assert near is not None
    assert far is not None
    assert near.found > 0.9
    assert far.found < 0.7


def test_noise_finds_borders_by_chance_alone() -> None:
    """A picture without the scene gets no more than its chance level."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    ids = np.kron(np.arange(64).reshape(8, 8), np.ones((32, 32), int))
    score = boundary_score(noise, ids)
    assert score is not None
    assert score.found == pytest.approx(score.chance, abs=0.05)


def test_flat_pictures_show_no_borders() -> None:
    """Nothing is strong where nothing changes."""
    score = boundary_score(np.full((SIZE, SIZE, 3), 90, np.uint8), instances())
    assert score is not None
    assert (score.found, score.chance) == (0, 0)


def test_scenes_without_borders_have_no_score() -> None:
    """One instance alone has none to find."""
    assert boundary_score(photo(instances()), np.zeros((SIZE, SIZE), np.int32)) is None


def test_strong_gradients_are_a_share_of_the_picture() -> None:
    """An independent count: pixels above the 90th percentile, widened by the tolerance."""
    picture = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    picture = ndimage.gaussian_filter(picture, (3, 3, 0))
    luma = picture[..., 0] * 0.299 + picture[..., 1] * 0.587 + picture[..., 2] * 0.114
    across, down = (ndimage.gaussian_filter(luma, 1, order=order) for order in ((0, 1), (1, 0)))
    strong = np.hypot(across, down) > np.quantile(np.hypot(across, down), 0.9)
    near = ndimage.binary_dilation(strong, np.ones((5, 5), bool))
    score = boundary_score(picture, instances())
    assert score is not None
    assert score.chance == pytest.approx(near.mean())
