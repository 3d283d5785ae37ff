"""Styles are clusters of what the encoder says of a data set's objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.bundle import load_bundle
from model.checkpoint import load_encoder
from model.codec import NO_CLASS
from model.encode import encode_styles
from training.clusters import find_styles, instance_codes
from training.crops import CropRule, Example
from training.data import load_example, open_folder

RULE = CropRule("random_scale", 64, (64, 64), 16)


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
    styles, again = (find_styles(encoder, open_folder(pairs_folder), RULE) for _ in range(2))
    assert {3, 10} <= set(styles.clusters) <= set(range(11))
    for label, centres in styles.clusters.items():
        assert centres.shape == (min(10, len(centres)), 3)
        assert np.abs(centres).max() <= 1
        assert centres == pytest.approx(again.clusters[label], abs=1e-6)
    assert styles.scenes == pytest.approx(again.scenes, abs=1e-6)


def test_typical_scenes_are_photographs(tiny_bundle: Path, pairs_folder: Path) -> None:
    """Each typical scene holds the mean codes of one of the five photographs."""
    encoder, data = load_encoder(load_bundle(tiny_bundle)), open_folder(pairs_folder)
    scenes = find_styles(encoder, data, RULE).scenes
    facades = []
    for pair in data.pairs:
        found = instance_codes(encoder, load_example(pair, data.input()))
        facades.append(np.mean([code for label, code in found if label == 3], axis=0))
    assert scenes.shape == (len(scenes), 11, 3)
    for scene in scenes:
        assert np.abs(np.array(facades) - scene[3]).max(1).min() < 1e-6


def test_ignored_pixels_have_no_style(tiny_bundle: Path) -> None:
    """Pixels of no class are no object of any class."""
    index = np.zeros((64, 64), np.int32)
    index[:, 32:] = 1
    label = np.array([3, NO_CLASS], np.uint8)[index]
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    encoder = load_encoder(load_bundle(tiny_bundle))
    found = instance_codes(encoder, Example(label, index, index, image))
    assert [label for label, _ in found] == [3]


def test_without_labels_all_styles_are_of_one_class(tiny_bundle: Path) -> None:
    """The instances of a source image are class 0."""
    index = np.zeros((64, 64), np.int32)
    index[:, 32:] = 1
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    encoder = load_encoder(load_bundle(tiny_bundle))
    found = instance_codes(encoder, Example(image, index, index, image))
    assert [label for label, _ in found] == [0, 0]
