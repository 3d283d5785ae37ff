"""The generators of pix2pixHD: global (G1) and coarse-to-fine local enhancer (G2).

Paper section 3.2. Input and output are NCHW; the output lies in [-1, 1]. Height and width
must be multiples of ``spec.size_multiple``; ``model.codec`` pads to that and crops back.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from model.cascade import CascadedRefinementNetwork
from model.layers import ResidualBlock, downsample, head, stem, upsample
from model.spec import GeneratorKind, GeneratorSpec
from model.unet import UNetGenerator


def _trunk(spec: GeneratorSpec, width: int) -> list[nn.Module]:
    """Layers of the global generator up to its last feature map of ``width`` channels."""
    layers = stem(spec.input_channels, width, spec.norm)
    for i in range(spec.downsamplings):
        layers += downsample(width * 2**i, spec.norm)
    bottleneck = width * 2**spec.downsamplings
    layers += [ResidualBlock(bottleneck, spec.norm) for _ in range(spec.blocks)]
    for i in range(spec.downsamplings):
        layers += upsample(bottleneck // 2**i, spec.norm)
    return layers


class GlobalGenerator(nn.Module):
    """G1: (N, spec.input_channels, H, W) float -> (N, spec.output_channels, H, W) in [-1, 1]."""

    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.model = nn.Sequential(
            *_trunk(spec, spec.width), *head(spec.width, spec.output_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Synthesise an image."""
        out: Tensor = self.model(x)
        return out


class LocalEnhancer(nn.Module):
    """G2: a global trunk at reduced size wrapped by ``spec.enhancers`` enhancers.

    The trunk is ``2**enhancers`` times as wide as ``spec.width`` and runs on the input averaged
    down by the same factor. Enhancer k halves its own input once, adds the features of the
    stage below and doubles the size again; the last one makes the image.
    """

    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.model = nn.Sequential(*_trunk(spec, spec.width * 2**spec.enhancers))
        for k in range(1, spec.enhancers + 1):
            width = spec.width * 2 ** (spec.enhancers - k)
            down = [*stem(spec.input_channels, width, spec.norm), *downsample(width, spec.norm)]
            up: list[nn.Module] = []
            up += [ResidualBlock(2 * width, spec.norm) for _ in range(spec.enhancer_blocks)]
            up += upsample(2 * width, spec.norm)
            if k == spec.enhancers:
                up += head(width, spec.output_channels)
            self.add_module(f"model{k}_1", nn.Sequential(*down))
            self.add_module(f"model{k}_2", nn.Sequential(*up))

    def forward(self, x: Tensor) -> Tensor:
        """Synthesise an image: (N, C, H, W) float -> (N, 3, H, W) in [-1, 1]."""
        pyramid = [x]
        for _ in range(self.spec.enhancers):
            # The whole concatenated input is averaged, so the trunk sees fractional one-hots.
            pyramid.append(half_size(pyramid[-1]))
        features: Tensor = self.model(pyramid.pop())
        for k in range(1, self.spec.enhancers + 1):
            down, up = self.get_submodule(f"model{k}_1"), self.get_submodule(f"model{k}_2")
            features = up(down(pyramid.pop()) + features)
        return features


def half_size(x: Tensor) -> Tensor:
    """Average an NCHW tensor down by two; border pixels average only what lies inside."""
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)


Generator = GlobalGenerator | LocalEnhancer | UNetGenerator | CascadedRefinementNetwork


def build_generator(spec: GeneratorSpec) -> Generator:
    """Build the network that ``spec`` describes, with torch's default initial weights."""
    networks: dict[GeneratorKind, Callable[[GeneratorSpec], Generator]] = {
        "global": GlobalGenerator,
        "local": LocalEnhancer,
        "unet": UNetGenerator,
        "cascade": CascadedRefinementNetwork,
    }
    return networks[spec.kind](spec)
