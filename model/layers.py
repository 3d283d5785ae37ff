"""Building blocks shared by the generator, the encoder and the discriminator.

Module order and nesting decide the state-dict keys; they follow the published checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.spec import Norm


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm without parameters whose gradient can be relied on.

    torch 2.13 computes a wrong gradient on the CPU when a single image arrives with channels
    last. Group norm with one group per channel is the same function with a right gradient;
    without gradients instance norm stays, which every engine knows. Statistics are taken in
    float32: half precision can neither hold the sums of a plane nor tell variances near zero.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every channel of every image of (N, C, H, W) over its pixels."""
        if torch.is_grad_enabled() and x.requires_grad:
            # Group norm has float32 statistics in any precision; autocast would add a float32
            # copy of every feature map.
            with torch.autocast(x.device.type, enabled=False):
                return F.group_norm(x, self.num_features, eps=self.eps)
        return super().forward(x.float()).to(x.dtype)


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """Return the normalisation layer for NCHW features.

    Instance norm has neither parameters nor statistics, so it is the same in training and
    evaluation and one image of a batch never influences another.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return InstanceNorm(channels)


def stem(in_channels: int, out_channels: int, norm: Norm) -> list[nn.Module]:
    """Full-resolution 7x7 convolution with reflection padding, norm and ReLU (c7s1-k)."""
    return [
        nn.ReflectionPad2d(3),
        nn.Conv2d(in_channels, out_channels, 7),
        norm_layer(norm, out_channels),
        nn.ReLU(inplace=True),
    ]


def downsample(channels: int, norm: Norm) -> list[nn.Module]:
    """Halve height and width, double the channels (d-k)."""
    return [
        nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
        norm_layer(norm, 2 * channels),
        nn.ReLU(inplace=True),
    ]


def upsample(channels: int, norm: Norm) -> list[nn.Module]:
    """Double height and width, halve the channels (u-k)."""
    return [
        nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1),
        norm_layer(norm, channels // 2),
        nn.ReLU(inplace=True),
    ]


def head(in_channels: int, out_channels: int) -> list[nn.Module]:
    """Last 7x7 convolution with reflection padding and tanh: values in [-1, 1]."""
    return [nn.ReflectionPad2d(3), nn.Conv2d(in_channels, out_channels, 7), nn.Tanh()]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with reflection padding added to their input; no ReLU after the sum."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm_layer(norm, channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm_layer(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        out: Tensor = x + self.conv_block(x)
        return out


def init_weights(module: nn.Module) -> None:
    """Draw initial weights as the reference does; use with ``network.apply(init_weights)``.

    Convolutions N(0, 0.02) with torch's default bias; batch norm N(1, 0.02) with zero bias.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
