"""The style encoder with instance-wise average pooling (paper section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.layers import downsample, head, stem, upsample
from model.spec import EncoderSpec


def instance_mean(features: Tensor, instance: Tensor) -> Tensor:
    """Replace every pixel's features by their mean over the pixel's instance.

    ``features`` is (N, C, H, W) float, ``instance`` (N, H, W) or (N, 1, H, W) of ids (any
    integer or float type holding whole numbers). The same id in two images of the batch is
    not shared. Differentiable with respect to ``features``. Returns (N, C, H, W).
    """
    n, c, h, w = features.shape
    ids = instance.reshape(n, h * w).long()
    lowest = ids.min()
    span = ids.max() - lowest + 1
    keys = ids - lowest + torch.arange(n, device=ids.device)[:, None] * span
    _, index = torch.unique(keys.flatten(), return_inverse=True)
    # An instance can cover millions of pixels, too many for sums in float32.
    pixels = features.double().permute(0, 2, 3, 1).reshape(n * h * w, c)
    counts = torch.bincount(index)
    sums = pixels.new_zeros(len(counts), c).index_add(0, index, pixels)
    means = sums / counts[:, None]
    return means[index].reshape(n, h, w, c).permute(0, 3, 1, 2).to(features.dtype)


class Encoder(nn.Module):
    """Image -> one style code per instance, painted over the instance's pixels."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.spec = spec
        layers = stem(spec.input_channels, spec.width, spec.norm)
        for i in range(spec.downsamplings):
            layers += downsample(spec.width * 2**i, spec.norm)
        for i in range(spec.downsamplings, 0, -1):
            layers += upsample(spec.width * 2**i, spec.norm)
        last = head(spec.width, spec.output_channels)
        if not spec.reflect_output:
            last = [nn.Conv2d(spec.width, spec.output_channels, 7, padding=3), nn.Tanh()]
        self.model = nn.Sequential(*layers, *last)

    def forward(self, image: Tensor, instance: Tensor) -> Tensor:
        """Encode ``image`` (N, 3, H, W) in [-1, 1] under ``instance`` (N, [1,] H, W).

        Returns (N, spec.output_channels, H, W) in [-1, 1], constant inside every instance.
        """
        return instance_mean(self.model(image), instance)
