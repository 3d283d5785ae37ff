"""The objective: the reference's numbers on its recorded case."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.codec import network_input
from model.reference import load_reference_checkpoint
from model.spec import InputSpec
from training.config import Gan, TrainConfig
from training.loop import train
from training.losses import (
    adversarial_loss,
    colour_loss,
    feature_matching_loss,
    generator_adversarial_loss,
)

PARITY = Path(__file__).parent.parent / "parity"


def two_scales() -> list[list[Tensor]]:
    """Logit maps of two sizes, each behind a layer of features that no GAN loss may read."""
    torch.manual_seed(0)
    logits = (torch.randn(2, 1, 5, 7) * 2, torch.randn(2, 1, 3, 4) * 2)
    return [[torch.full((2, 8, 9, 9), torch.nan), x] for x in logits]


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
        "generator_gan": generator_adversarial_loss(fake),
        "feature_matching": recorded["lambda_feat"] * feature_matching_loss(fake, real),
    }
    assert {k: v.item() for k, v in ours.items()} == pytest.approx(
        {k: recorded[k] for k in ours}, rel=1e-5
    )


def test_vanilla_loss_is_binary_cross_entropy() -> None:
    """On both sides, and for the generator; mean over a map, sum over the scales."""
    maps = [scale[-1] for scale in two_scales()]
    ones, zeros = (
        sum(
            F.binary_cross_entropy(torch.sigmoid(x.double()), torch.full_like(x, t).double()).item()
            for x in maps
        )
        for t in (1.0, 0.0)
    )
    judged = two_scales()
    assert adversarial_loss(judged, True, "vanilla").item() == pytest.approx(ones, rel=1e-6)
    assert adversarial_loss(judged, False, "vanilla").item() == pytest.approx(zeros, rel=1e-6)
    assert generator_adversarial_loss(judged, "vanilla").item() == pytest.approx(ones, rel=1e-6)


def test_hinge_loss_has_margins_for_the_discriminator_alone() -> None:
    """max(0, 1 - x) for real, max(0, 1 + x) for fake, and -x for the generator."""
    maps = [scale[-1].double().numpy() for scale in two_scales()]
    judged = two_scales()
    assert adversarial_loss(judged, True, "hinge").item() == pytest.approx(
        sum(np.maximum(0, 1 - x).mean() for x in maps), rel=1e-6
    )
    assert adversarial_loss(judged, False, "hinge").item() == pytest.approx(
        sum(np.maximum(0, 1 + x).mean() for x in maps), rel=1e-6
    )
    assert generator_adversarial_loss(judged, "hinge").item() == pytest.approx(
        -sum(x.mean() for x in maps), rel=1e-6
    )


@pytest.mark.parametrize("gan", ["lsgan", "hinge", "vanilla"])
def test_the_sides_pull_in_opposite_directions(gan: Gan) -> None:
    """The discriminator lowers logits of fakes and raises those of photographs; G raises fakes'."""

    def pull(side: str) -> float:
        logits = torch.full((1, 1, 2, 2), 0.3, requires_grad=True)
        loss = {
            "fake": lambda: adversarial_loss([[logits]], False, gan),
            "real": lambda: adversarial_loss([[logits]], True, gan),
            "generator": lambda: generator_adversarial_loss([[logits]], gan),
        }[side]()
        (gradient,) = torch.autograd.grad(loss, logits)
        return -gradient.sum().item()

    assert pull("fake") < 0 < min(pull("real"), pull("generator"))


def test_losses_of_half_precision_logits_are_float32() -> None:
    """The square of a large logit doesn't overflow."""
    judged = [[torch.full((1, 1, 2, 2), 512.0, dtype=torch.float16)]]
    loss = adversarial_loss(judged, real=False)
    assert loss.dtype == torch.float32
    assert loss.item() == 512**2


@pytest.mark.parametrize(("gan", "fresh"), [("lsgan", 1.0), ("hinge", 2.0), ("vanilla", 1.386)])
def test_the_gan_setting_reaches_the_run(
    pairs_folder: Path, tmp_path: Path, gan: Gan, fresh: float
) -> None:
    """A fresh discriminator, whose logits are near 0, reports its own objective's loss."""
    config = TrainConfig(
        data=str(pairs_folder), images=2, batch=2, crop=32, scale=(32, 48), width=4,
        downsamplings=2, blocks=1, discriminator_width=4, workers=0, checkpoint_every=2,
        device="cpu", gan=gan, perceptual=0, l1=100,
    )  # fmt: skip
    train(config, tmp_path)
    record = json.loads((tmp_path / "progress.jsonl").read_text())
    assert record["discriminator"] == pytest.approx(fresh, rel=0.25)
    assert 0 < record["l1"] < 200


def test_an_unknown_gan_is_refused() -> None:
    """The message names the value and the choices."""
    with pytest.raises(ValueError, match="gan is 'wgan'; choose one of lsgan, hinge, vanilla"):
        TrainConfig(data="x", gan="wgan")  # type: ignore[arg-type]


def test_feature_matching_sends_no_gradient_to_the_real_side() -> None:
    """Only the fake features are pulled; logits take no part."""
    fake = [[torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)]]
    real = [[torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)]]
    torch.autograd.backward(feature_matching_loss(fake, real))
    assert fake[0][0].grad is not None
    assert fake[0][1].grad is None
    assert real[0][0].grad is None


def test_colour_loss_sees_colour_but_not_texture() -> None:
    """A checkerboard equals its mean grey; another grey does not."""
    board = torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).repeat(1, 3, 8, 8)
    grey = torch.zeros(1, 3, 16, 16)
    assert colour_loss(board, grey).item() == 0
    assert colour_loss(grey + 0.5, grey).item() == 0.5
