"""The objective of pix2pixHD (paper equations 2 to 6): adversarial and feature-matching terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional as F

from training.config import Gan

Features = Sequence[Sequence[Tensor]]
"""What a multi-scale discriminator returns: per scale, every layer's output, logits last."""


def adversarial_loss(predictions: Features, real: bool, gan: Gan = "lsgan") -> Tensor:
    """Error of logits x that should say "real" or "fake" (scalar float32).

    lsgan: (x - 1)^2 for real, x^2 for fake. hinge: max(0, 1 - x) and max(0, 1 + x). vanilla:
    binary cross-entropy of sigmoid(x). Mean over each logit map, summed over the scales, as in
    the reference.
    """
    sign = 1.0 if real else -1.0
    terms = []
    for scale in predictions:
        logits = scale[-1].float()
        match gan:
            case "lsgan":
                error = (logits - float(real)).square()
            case "hinge":
                error = F.relu(1.0 - sign * logits)
            case "vanilla":
                error = F.softplus(-sign * logits)
            case _:
                assert_never(gan)
        terms.append(error.mean())
    return torch.stack(terms).sum()


def generator_adversarial_loss(fake: Features, gan: Gan = "lsgan") -> Tensor:
    """What the generator minimises: its images should be judged real (scalar float32).

    The hinge has no margin on this side: a fake that looks real can still look more so.
    """
    if gan == "hinge":
        return -torch.stack([scale[-1].float().mean() for scale in fake]).sum()
    return adversarial_loss(fake, real=True, gan=gan)


def feature_matching_loss(fake: Features, real: Features) -> Tensor:
    """Distance of the discriminator's inner features (paper equation 4), before its weight.

    Sum over scales and layers of mean|fake - real|, each scale weighted 1/scales and each layer
    4/(layers + 1), logits excluded; no gradient reaches ``real``. Scalar float32.
    """
    total = torch.zeros((), device=fake[0][0].device)
    for fake_scale, real_scale in zip(fake, real, strict=True):
        weight = 4.0 / (len(fake_scale) - 1) / len(fake)
        for fake_layer, real_layer in zip(fake_scale[:-1], real_scale[:-1], strict=True):
            total = total + weight * F.l1_loss(fake_layer.float(), real_layer.detach().float())
    return total


def colour_loss(fake: Tensor, real: Tensor) -> Tensor:
    """L1 distance of (N, 3, H, W) photographs averaged over 8x8 pixels (scalar float32).

    Ties colour and brightness to the style codes early, and leaves texture, which a plain L1
    loss would blur, to the other terms. Not part of the published objective.
    """
    return F.l1_loss(F.avg_pool2d(fake.float(), 8), F.avg_pool2d(real.float(), 8))
