from __future__ import annotations

import dataclasses

import pytest
import torch

from model.spec import InputSpec
from training.config import TrainConfig
from training.memory import estimate
from training.networks import Networks

SPEC = InputSpec(11, edges=True, style_channels=3)
CONFIG = TrainConfig(
    "data", batch=1, width=8, downsamplings=2, blocks=4, discriminator_width=8,
    perceptual_network="squeezenet", style_colour=1.0,
)  # fmt: skip


def test_weights_are_those_of_the_run() -> None:
    """Counts per network are what training builds; Adam keeps two numbers per weight."""
    needs = estimate(CONFIG, SPEC, (64, 96))
    networks = Networks(CONFIG, SPEC, torch.device("cpu"))
    for name in ("generator", "discriminator", "encoder"):
        built = sum(p.numel() for p in getattr(networks, name).parameters())
        assert needs.parameters[name] == built
    assert needs.optimizer == 2 * needs.gradients
    assert needs.total > needs.weights + needs.gradients + needs.optimizer


def test_activations_grow_with_what_is_kept() -> None:
    """In proportion to batch and area; 16 bits and blocks computed twice save some."""
    base = estimate(CONFIG, SPEC, (128, 128)).activations
    twice = dataclasses.replace(CONFIG, batch=2)
    assert estimate(twice, SPEC, (128, 128)).activations == pytest.approx(2 * base, rel=0.1)
    assert estimate(CONFIG, SPEC, (256, 128)).activations == pytest.approx(2 * base, rel=0.1)
    for saving in ({"checkpoint_blocks": True}, {"precision": "bfloat16"}):
        config = dataclasses.replace(CONFIG, **saving)
        assert estimate(config, SPEC, (128, 128)).activations < 0.95 * base


def test_the_estimate_allocates_nothing() -> None:
    """A network far too large for this machine is estimated all the same."""
    huge = dataclasses.replace(CONFIG, width=1024, downsamplings=4, blocks=9, perceptual=0.0)
    assert estimate(huge, SPEC, (2048, 4096)).weights > 300e9
