"""Styles are clusters of what the encoder says of a data set's objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.bundle import load_bundle
from model.checkpoint import load_encoder
from model.encode import encode_styles
from training.clusters import find_styles, instance_codes
from training.data import Example, find_pairs, load_example


def test_small_instances_are_left_out(tiny_bundle: Path) -> None:
    """Every large instance gives the code that the encoder finds, with its class."""
    index = np.zeros((64, 64), np.int32)
    index[:, 32:], index[0, 0] = 2, 1
    label = np.array([3, 9, 10], np.uint8)[index]
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    encoder = load_encoder(load_bundle(tiny_bundle))
    found = instance_codes(encoder, Example(label, index, index, image))
    codes = encode_styles(encoder, image, index)
    assert [label for label, _ in found] == [3, 10]
    assert np.array_equal(np.stack([code for _, code in found]), codes[[0, 2]])


def test_styles_of_a_data_set(tiny_bundle: Path, pairs_folder: Path) -> None:
    """At most ten codes in [-1, 1] for each class that occurs, the same every time."""
    encoder = load_encoder(load_bundle(tiny_bundle))
    styles, again = (find_styles(encoder, find_pairs(pairs_folder), 11, 64) for _ in range(2))
    assert {3, 10} <= set(styles.clusters) <= set(range(11))
    for label, centres in styles.clusters.items():
        assert centres.shape == (min(10, len(centres)), 3)
        assert np.abs(centres).max() <= 1
        assert centres == pytest.approx(again.clusters[label], abs=1e-6)
    assert styles.scenes == pytest.approx(again.scenes, abs=1e-6)


def test_typical_scenes_are_photographs(tiny_bundle: Path, pairs_folder: Path) -> None:
    """Each typical scene holds the mean codes of one of the five photographs."""
    encoder, pairs = load_encoder(load_bundle(tiny_bundle)), find_pairs(pairs_folder)
    scenes = find_styles(encoder, pairs, 11, 64).scenes
    facades = []
    for pair in pairs:
        found = instance_codes(encoder, load_example(pair, 11))
        facades.append(np.mean([code for label, code in found if label == 3], axis=0))
    assert scenes.shape == (len(scenes), 11, 3)
    for scene in scenes:
        assert np.abs(np.array(facades) - scene[3]).max(1).min() < 1e-6
