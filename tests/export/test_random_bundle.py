"""Bundles with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export.random_bundle import PUBLISHED, write_random_weights
from model.bundle import load_bundle
from model.checkpoint import load_generator
from model.generator import build_generator
from model.spec import GeneratorSpec, InputSpec


@pytest.mark.parametrize(
    ("kind", "weights"), [("global-1024x512", 182_546_755), ("local-2048x1024", 182_857_059)]
)
def test_published_kinds_have_the_published_number_of_weights(kind: str, weights: int) -> None:
    """The networks are those of the released checkpoints, made for the sizes in their names."""
    spec, (width, height) = PUBLISHED[kind]
    with torch.device("meta"):
        network = build_generator(spec)
    assert sum(parameter.numel() for parameter in network.parameters()) == weights
    assert kind.endswith(f"{width}x{height}")
    assert width % spec.size_multiple == height % spec.size_multiple == 0


def test_a_random_bundle_can_be_loaded_and_repeats(tmp_path: Path) -> None:
    """The same seed gives the same weights, and leaves torch's own dice alone."""
    inputs = InputSpec(35)
    generator = GeneratorSpec("global", inputs.channels, width=2, downsamplings=1, blocks=1)
    state = torch.random.get_rng_state()
    for name in ("one", "two"):
        write_random_weights(tmp_path / name, "tiny", inputs, generator, (64, 32))
    assert torch.equal(torch.random.get_rng_state(), state)
    one, two = (load_generator(load_bundle(tmp_path / name)) for name in ("one", "two"))
    for left, right in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(left, right)
    assert load_bundle(tmp_path / "one").trained_size == (64, 32)
