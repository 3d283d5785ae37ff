"""The multi-scale PatchGAN discriminator (paper section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn

from model.generator import half_size
from model.layers import norm_layer
from model.spec import DiscriminatorSpec

CHANNEL_CAP = 512


def _patch_layers(spec: DiscriminatorSpec) -> list[nn.Sequential]:
    """One scale: ``spec.layers`` stride-2 layers, one stride-1 layer, one logit layer."""
    width = spec.width
    layers = [
        nn.Sequential(
            nn.Conv2d(spec.input_channels, width, 4, stride=2, padding=spec.padding),
            nn.LeakyReLU(0.2, inplace=True),
        )
    ]
    for i in range(1, spec.layers + 1):
        wider, stride = min(2 * width, CHANNEL_CAP), 2 if i < spec.layers else 1
        layers.append(
            nn.Sequential(
                nn.Conv2d(width, wider, 4, stride=stride, padding=spec.padding),
                norm_layer(spec.norm, wider),
                nn.LeakyReLU(0.2, inplace=True),
            )
        )
        width = wider
    layers.append(nn.Sequential(nn.Conv2d(width, 1, 4, padding=spec.padding)))
    return layers


class MultiscaleDiscriminator(nn.Module):
    """Judges (labels, edges, image) at ``spec.scales`` sizes, each half the one before.

    State-dict names count from the coarsest scale (``scale0``), as published, so that a
    coarser-trained discriminator loads unchanged when a finer scale is added.
    """

    def __init__(self, spec: DiscriminatorSpec) -> None:
        super().__init__()
        self.spec = spec
        for scale in range(spec.scales):
            for j, layer in enumerate(_patch_layers(spec)):
                self.add_module(f"scale{scale}_layer{j}", layer)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Judge ``x`` (N, C, H, W); returns one list per scale, the finest first.

        Each list holds the features after every layer, the last entry being the (N, 1, h, w)
        logits; without ``spec.intermediate_features`` it holds the logits alone.
        """
        results = []
        for scale in reversed(range(self.spec.scales)):
            features, out = [], x
            for j in range(self.spec.layers + 2):
                out = self.get_submodule(f"scale{scale}_layer{j}")(out)
                features.append(out)
            results.append(features if self.spec.intermediate_features else features[-1:])
            if scale:
                x = half_size(x)
        return results
