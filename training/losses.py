"""The objective of pix2pixHD (paper equations 2 to 6): adversarial and feature-matching terms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Features = Sequence[Sequence[Tensor]]
"""What a multi-scale discriminator returns: per scale, every layer's output, logits last."""


def adversarial_loss(predictions: Features, real: bool) -> Tensor:
    """Least-squares GAN loss of the logits, target 1 for real and 0 for fake (scalar float32).

    Mean over each logit map, summed over the scales, as in the reference.
    """
    target = 1.0 if real else 0.0
    terms = [(scale[-1].float() - target).square().mean() for scale in predictions]
    return torch.stack(terms).sum()


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
