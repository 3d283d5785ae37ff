"""Styles taken from photographs are what the style encoder says of every object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model.bundle import load_bundle
from model.checkpoint import load_encoder
from model.encode import encode_styles
from model.encoder import Encoder
from model.scenes import draw_scene
from model.style_means import mean_codes


@pytest.fixture
def encoder(tiny_bundle: Path) -> Encoder:
    """An encoder that takes multiples of four pixels."""
    return load_encoder(load_bundle(tiny_bundle))


def photo(height: int, width: int) -> np.ndarray:
    """Noise: every object of it has a code of its own."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_codes_are_what_the_encoder_paints(encoder: Encoder) -> None:
    """Painted over their objects, the codes are the map that the generator was trained on."""
    image = photo(64, 80)
    _, index = np.unique(draw_scene(80, 64, 1).instance, return_inverse=True)
    codes = encode_styles(encoder, image, index)
    with torch.inference_mode():
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
        painted = encoder(x, torch.from_numpy(index)[None])[0].permute(1, 2, 0).numpy()
    assert codes.shape == (index.max() + 1, 3)
    assert codes.dtype == np.float32
    assert codes[index] == pytest.approx(painted, abs=1e-6)
    assert np.ptp(codes, axis=0).min() > 0


@pytest.mark.parametrize("size", [(45, 61), (1, 5), (3, 200)])
def test_any_size_is_encoded(encoder: Encoder, size: tuple[int, int]) -> None:
    """Sizes that the network cannot take give a code per object as well, in [-1, 1]."""
    index = np.zeros(size, np.int32)
    index[:, size[1] // 2 :] = 1
    codes = encode_styles(encoder, photo(*size), index)
    assert codes.shape == (2, 3)
    assert np.isfinite(codes).all()
    assert np.abs(codes).max() <= 1


def test_pixels_added_to_reach_a_legal_size_do_not_count(encoder: Encoder) -> None:
    """A code is the mean over the photograph's own pixels."""
    image, index = photo(46, 62), np.zeros((46, 62), np.int32)
    index[:23] = 1
    with torch.inference_mode():
        padded = np.pad(image, ((0, 2), (0, 2), (0, 0)), mode="reflect")
        x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 127.5 - 1
        features = encoder.model(x)[0, :, :46, :62].numpy()
    wanted = [features[:, 23:].mean((1, 2)), features[:, :23].mean((1, 2))]
    assert encode_styles(encoder, image, index) == pytest.approx(np.stack(wanted), abs=1e-5)


def test_means_are_weighted_with_areas() -> None:
    """Three pixels of one object weigh three times as much as one of another."""
    codes = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]], np.float32)
    index = np.array([[0, 0, 0], [1, 2, 2]])
    means = mean_codes(codes, index, np.array([5, 5, 9]))
    assert means == {5: [0.75, 0.25], 9: [-1.0, 0.5]}
