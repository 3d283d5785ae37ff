"""Integers in, pixels out: the networks as modules for export and for torch engines.

Nothing is left to do outside of them but to read and write image files: padding, one-hot labels,
edges, styles, scaling, rounding and cropping are inside.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.encoder import Encoder
from model.generator import Generator
from model.inputs import network_input, paint_styles, source_planes
from model.padding import pad_to_legal
from model.spec import InputSpec


class Synthesis(nn.Module):
    """Pads and expands maps, runs the generator, crops and rounds to pixels.

    ``label`` (N, H, W) uint8, or source images (N, H, W, C) for models without labels;
    ``instance`` (N, H, W) int32 for models with edges; ``style_index`` (N, H, W) int32 rows of
    ``style_table`` (N, M, C) float32 for models with styles. Any H and W from 1 on.
    Returns (N, H, W, 3) uint8. Computes in the precision of the generator's weights.
    """

    def __init__(self, spec: InputSpec, generator: Generator) -> None:
        super().__init__()
        self.spec, self.generator = spec, generator
        self.dtype = next(generator.parameters()).dtype

    def forward(
        self,
        label: Tensor,
        instance: Tensor | None = None,
        style_index: Tensor | None = None,
        style_table: Tensor | None = None,
    ) -> Tensor:
        """Synthesise photographs."""
        height, width = label.shape[1], label.shape[2]
        styles = None
        if style_index is not None and style_table is not None:
            styles = paint_styles(self._pad(style_index), style_table)
        edges = None if instance is None else self._pad(instance)
        # As int32: TensorRT takes bytes only as inputs and outputs of a graph.
        planes = network_input(self.spec, self._pad(label.int()), edges, styles, self.dtype)
        return to_pixels(self.generator(planes)[:, :, :height, :width])

    def _pad(self, images: Tensor) -> Tensor:
        rule = self.generator.spec
        return pad_to_legal(images, rule.size_multiple, rule.minimum_side)


class Encoding(nn.Module):
    """The style encoder's features of photographs of any size.

    ``photo`` (N, H, W, 3) uint8 RGB -> (N, C, H, W) float32 in [-1, 1], before the mean over
    instances is taken.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, photo: Tensor) -> Tensor:
        """Encode photographs."""
        multiple = self.encoder.spec.size_multiple
        # Two pixels a side are left at the bottleneck, which instance norm needs.
        padded = pad_to_legal(photo.int(), multiple, 2 * multiple)
        features: Tensor = self.encoder.model(source_planes(padded))
        return features[:, :, : photo.shape[1], : photo.shape[2]]


def to_pixels(image: Tensor) -> Tensor:
    """(N, 3, H, W) in [-1, 1] -> (N, H, W, 3) uint8 by rounding, as ``model.codec.to_pixels``."""
    levels = ((image.float() + 1.0) * 127.5).round().clamp(0, 255)
    # Bytes come last: TensorRT takes them only as inputs and outputs of a graph.
    return levels.permute(0, 2, 3, 1).to(torch.uint8)
