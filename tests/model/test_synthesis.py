"""The whole generator as one module: any size, any kind of input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from export.parity import Feeds, random_scenes
from model.bundle import load_bundle
from model.checkpoint import load_generator
from model.codec import legal_size, pad_reflect
from model.generator import build_generator
from model.spec import GeneratorSpec, InputSpec
from model.synthesis import Synthesis


def run(network: Synthesis, feeds: Feeds) -> np.ndarray:
    """Pixels of a batch."""
    with torch.inference_mode():
        tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
        return np.asarray(network(**tensors).numpy())


@pytest.mark.parametrize("size", [(37, 53), (5, 9), (1, 1), (1, 30)], ids=str)
def test_padding_inside_equals_padding_outside(tiny_bundle: Path, size: tuple[int, int]) -> None:
    """A map of any size gives the crop of what its padded form gives."""
    bundle = load_bundle(tiny_bundle)
    network = Synthesis(bundle.input, load_generator(bundle)).eval()
    feeds = random_scenes(bundle, 2, *size, seed=0)
    rule = bundle.generator
    legal = legal_size(*size, rule.size_multiple, rule.minimum_side)
    padded = {
        name: array if name == "style_table" else np.stack([pad_reflect(p, *legal) for p in array])
        for name, array in feeds.items()
    }
    wanted = run(network, padded)[:, : size[0], : size[1]]
    assert np.array_equal(run(network, feeds), wanted)


@pytest.mark.parametrize(
    "spec", [InputSpec(0, edges=False), InputSpec(0, image_channels=1), InputSpec(3, edges=False)]
)
def test_pictures_and_missing_edges(spec: InputSpec) -> None:
    """Models take pictures instead of labels, and no instance map where they have no edges."""
    generator = build_generator(
        GeneratorSpec("global", spec.channels, width=2, downsamplings=1, blocks=1)
    )
    shape = (2, 7, 9) if spec.label_count else (2, 7, 9, spec.image_channels)
    rng = np.random.default_rng(0)
    feeds: Feeds = {"label": rng.integers(0, 3 if spec.label_count else 256, shape, np.uint8)}
    if spec.edges:
        feeds["instance"] = np.zeros((2, 7, 9), np.int32)
    assert run(Synthesis(spec, generator).eval(), feeds).shape == (2, 7, 9, 3)


def test_half_precision_keeps_ids_apart(tiny_bundle: Path) -> None:
    """Ids that half precision would merge still have a border between them."""
    bundle = load_bundle(tiny_bundle)
    feeds = random_scenes(bundle, 1, 32, 32, seed=0)
    feeds["label"][:] = 1
    feeds["instance"] = np.full((1, 32, 32), 26000, np.int32)
    together = run(Synthesis(bundle.input, load_generator(bundle).half()).eval(), feeds)
    feeds["instance"][:, 16:] = 26001
    apart = run(Synthesis(bundle.input, load_generator(bundle).half()).eval(), feeds)
    assert not np.array_equal(together, apart)
