"""Flicker on photographs whose change is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from model.flicker import Shot, flicker, sharpness


@pytest.fixture
def shot() -> Shot:
    """A frame of noise with four objects."""
    draws = np.random.default_rng(0)
    label = np.repeat(np.repeat([[0, 1], [2, 3]], 8, 0), 8, 1)
    return Shot(label, label * 10, draws.integers(0, 200, (16, 16, 3), dtype=np.uint8))


def test_change_counts_in_grey_levels(shot: Shot) -> None:
    """A picture that gets brighter by 5 flickers by 5, one that stays by 0."""
    assert flicker(shot, shot) == 0
    assert flicker(shot, replace(shot, photo=shot.photo + 5)) == 5


def test_only_pixels_of_the_same_object_count(shot: Shot) -> None:
    """What became another class or instance may change as it likes."""
    label, instance, photo = shot.label.copy(), shot.instance.copy(), shot.photo.copy()
    label[:8, :8], instance[8:, 8:] = 9, 99
    photo[:8, :8] = photo[8:, 8:] = 255
    photo[8:, :8] += 2
    assert flicker(shot, Shot(label, instance, photo)) == 1
    assert math.isnan(flicker(shot, replace(shot, label=shot.label + 1)))


def test_known_motion_is_followed(shot: Shot) -> None:
    """A scene that moves as announced does not flicker, though every pixel changes."""
    moved = Shot(
        *(np.roll(part, (1, 3), (0, 1)) for part in (shot.label, shot.instance, shot.photo))
    )
    motion = np.full((16, 16, 2), (3, 1))
    assert flicker(shot, moved, motion) == 0
    assert flicker(shot, moved) > 10


def test_frames_of_two_sizes_are_refused(shot: Shot) -> None:
    """There is no pixel to compare then."""
    small = Shot(shot.label[:8], shot.instance[:8], shot.photo[:8])
    with pytest.raises(ValueError, match="one size"):
        flicker(shot, small)


def test_blurring_lowers_sharpness(shot: Shot) -> None:
    """The mean of each pixel and its neighbour is less sharp than the picture."""
    blurred = shot.photo // 2 + np.roll(shot.photo, 1, 1) // 2
    assert sharpness(blurred) < 0.8 * sharpness(shot.photo)
    assert sharpness(np.zeros_like(shot.photo)) == 0
