"""The cascaded refinement network (Chen and Koltun, ICCV 2017): the second baseline of the paper.

Input and output are NCHW. The output is linear, trained towards [-1, 1], and may lie slightly
outside. Height and width must be multiples of ``2**spec.downsamplings``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.spec import GeneratorSpec

_SHARES = (1, 1, 1, 1, 1, 2, 2, 8, 32)
"""What the width is divided by, from the coarsest module on: 1024 channels up to a height of 64
pixels, 512 up to 256, then 128 and 32."""


class CascadedRefinementNetwork(nn.Module):
    """(N, spec.input_channels, H, W) float -> (N, spec.output_channels, H, W), about [-1, 1].

    The coarsest module sees the layout at 1/2**downsamplings of the size; every further one
    doubles the size and sees the layout at its own size beside the features so far.
    """

    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__()
        self.spec = spec
        widths = [max(1, spec.width // _SHARES[i]) for i in range(spec.downsamplings + 1)]
        taken = [spec.input_channels] + [spec.input_channels + width for width in widths[:-1]]
        self.refine = nn.ModuleList(map(_module, taken, widths))
        self.to_image = nn.Conv2d(widths[-1], spec.output_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Synthesise an image."""
        layouts = [x]
        for _ in range(self.spec.downsamplings):
            layouts.append(F.avg_pool2d(layouts[-1], 2))
        features = self.refine[0](layouts.pop())
        for module in self.refine[1:]:
            layout = layouts.pop()
            grown = F.interpolate(features, layout.shape[2:], mode="bilinear", align_corners=True)
            features = module(torch.cat([grown, layout], dim=1))
        image: Tensor = self.to_image(features)
        return image


def _module(taken: int, width: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with layer norm over (C, H, W) and leaky ReLU."""
    layers: list[nn.Module] = []
    for channels in (taken, width):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.GroupNorm(1, width),  # one group: the layer norm of the paper
            nn.LeakyReLU(0.2),
        ]
    return nn.Sequential(*layers)
