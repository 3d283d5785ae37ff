"""The generator of pix2pix (Isola et al., CVPR 2017): a U-Net, the first baseline of the paper.

Input and output are NCHW; the output lies in [-1, 1]. Height and width must be multiples of
``2**spec.downsamplings``: 256 for the published network, whose innermost features are 1x1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.layers import norm_layer
from model.spec import GeneratorSpec

_DROPOUT_LEVELS = 3
"""Decoder layers after the innermost one that drop half of their features in training."""


class UNetGenerator(nn.Module):
    """(N, spec.input_channels, H, W) float -> (N, spec.output_channels, H, W) in [-1, 1].

    Every level halves the size with a 4x4 convolution and doubles it again with a transposed
    one; what a level puts out stands beside what it took in. The paper keeps dropout on when it
    tests, as its only source of variety; here a photograph is reproducible, so evaluation mode
    turns it off.
    """

    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__()
        self.spec = spec
        levels = range(spec.downsamplings)
        # Channels after each level: 64, 128, 256 and 512 from there on.
        widths = [spec.width * min(2**level, 8) for level in levels]
        inputs = [spec.input_channels, *widths[:-1]]
        innermost = spec.downsamplings - 1
        self.down = nn.ModuleList(
            _down(inputs[i], widths[i], spec, first=i == 0, normed=0 < i < innermost)
            for i in levels
        )
        outputs = [spec.output_channels, *widths[:-1]]
        self.up = nn.ModuleList(
            _up(
                widths[i] if i == innermost else 2 * widths[i],
                outputs[i],
                spec,
                last=i == 0,
                dropout=innermost - _DROPOUT_LEVELS <= i < innermost and outputs[i] == widths[-1],
            )
            for i in levels
        )

    def forward(self, x: Tensor) -> Tensor:
        """Synthesise an image."""
        passed = []
        for layer in self.down:
            x = layer(x)
            passed.append(x)
        x = self.up[-1](x)
        for level in reversed(range(len(self.up) - 1)):
            x = self.up[level](torch.cat([passed[level], x], dim=1))
        return x


def _down(
    taken: int, given: int, spec: GeneratorSpec, *, first: bool, normed: bool
) -> nn.Sequential:
    layers: list[nn.Module] = [] if first else [nn.LeakyReLU(0.2)]
    layers.append(nn.Conv2d(taken, given, 4, stride=2, padding=1, bias=_bias(spec)))
    if normed:
        layers.append(norm_layer(spec.norm, given))
    return nn.Sequential(*layers)


def _up(taken: int, given: int, spec: GeneratorSpec, *, last: bool, dropout: bool) -> nn.Sequential:
    bias = last or _bias(spec)
    layers: list[nn.Module] = [
        nn.ReLU(),
        nn.ConvTranspose2d(taken, given, 4, stride=2, padding=1, bias=bias),
    ]
    layers.append(nn.Tanh() if last else norm_layer(spec.norm, given))
    if dropout:
        layers.append(nn.Dropout(0.5))
    return nn.Sequential(*layers)


def _bias(spec: GeneratorSpec) -> bool:
    """Batch norm has a bias of its own."""
    return spec.norm != "batch"
