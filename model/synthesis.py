"""Integers in, pixels out: the whole generator as one module, for export and for torch engines."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.inputs import network_input, paint_styles
from model.spec import InputSpec


class Synthesis(nn.Module):
    """Expands maps, runs the generator and rounds to pixels.

    ``label`` (N, H, W) uint8, ``instance`` (N, H, W) int32 and, for models with styles,
    ``style_index`` (N, H, W) int32 rows of ``style_table`` (N, M, C) float32.
    Returns (N, H, W, 3) uint8. H and W must be legal for the generator.
    """

    def __init__(self, spec: InputSpec, generator: nn.Module) -> None:
        super().__init__()
        self.spec, self.generator = spec, generator

    def forward(
        self,
        label: Tensor,
        instance: Tensor,
        style_index: Tensor | None = None,
        style_table: Tensor | None = None,
    ) -> Tensor:
        """Synthesise photographs."""
        styles = None
        if style_index is not None and style_table is not None:
            styles = paint_styles(style_index, style_table)
        return to_pixels(self.generator(network_input(self.spec, label, instance, styles)))


def to_pixels(image: Tensor) -> Tensor:
    """(N, 3, H, W) in [-1, 1] -> (N, H, W, 3) uint8 by rounding, as ``model.codec.to_pixels``."""
    levels = ((image.float() + 1.0) * 127.5).round().clamp(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1)
