"""The objective: the reference's numbers on its recorded case."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.codec import network_input
from model.reference import load_reference_checkpoint
from model.spec import InputSpec
from training.losses import adversarial_loss, colour_loss, feature_matching_loss

PARITY = Path(__file__).parent.parent / "parity"


@pytest.fixture(scope="module")
def judged() -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """What the recorded discriminator says of the recorded fake and real image."""
    recorded = np.load(PARITY / "losses.npz")
    labels = json.loads((PARITY / "losses.json").read_text())["num_labels"]
    maps = network_input(InputSpec(labels), recorded["label"], recorded["instance"])
    network = load_reference_checkpoint(PARITY / "losses.pth")
    results = []
    with torch.inference_mode():
        for name in ("fake", "real"):
            x = np.concatenate([maps, recorded[name]])
            results.append(network(torch.from_numpy(x)[None]))
    return results[0], results[1]


def test_losses_equal_the_recorded_ones(
    judged: tuple[list[list[Tensor]], list[list[Tensor]]],
) -> None:
    """Adversarial and feature-matching terms agree to 1e-5 of their size."""
    fake, real = judged
    recorded = json.loads((PARITY / "losses.json").read_text())
    on_fake, on_real = adversarial_loss(fake, real=False), adversarial_loss(real, real=True)
    ours = {
        "discriminator_fake": on_fake,
        "discriminator_real": on_real,
        "discriminator_total": 0.5 * (on_fake + on_real),
        "generator_gan": adversarial_loss(fake, real=True),
        "feature_matching": recorded["lambda_feat"] * feature_matching_loss(fake, real),
    }
    assert {k: v.item() for k, v in ours.items()} == pytest.approx(
        {k: recorded[k] for k in ours}, rel=1e-5
    )


def test_feature_matching_sends_no_gradient_to_the_real_side() -> None:
    """Only the fake features are pulled; logits take no part."""
    fake = [[torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)]]
    real = [[torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)]]
    feature_matching_loss(fake, real).backward()
    assert fake[0][0].grad is not None
    assert fake[0][1].grad is None
    assert real[0][0].grad is None


def test_colour_loss_sees_colour_but_not_texture() -> None:
    """A checkerboard equals its mean grey; another grey does not."""
    board = torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).repeat(1, 3, 8, 8)
    grey = torch.zeros(1, 3, 16, 16)
    assert colour_loss(board, grey).item() == 0
    assert colour_loss(grey + 0.5, grey).item() == 0.5
