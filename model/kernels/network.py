"""The whole generator with its 7x7 layers on kernels: integers in, pixels out, without one-hots."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.generator import Generator, GlobalGenerator, LocalEnhancer, half_size
from model.inputs import edge_map, network_input, paint_styles
from model.kernels.fold import fold_batch_norms
from model.kernels.head import head_table, pixel_head
from model.kernels.stem import one_hot_stem, pool_labels, pooled_stem, stem_table
from model.spec import InputSpec
from model.synthesis import Synthesis

Module = TypeVar("Module", bound=nn.Module)
Layers = list[nn.Module]
Planes = tuple[Tensor, Tensor | None, Tensor | None]
"""Label map, instance map (for edges) and painted styles of a batch."""


def gpu_synthesis(spec: InputSpec, generator: Generator, dtype: torch.dtype) -> nn.Module:
    """Build what a GPU runs fastest for ``generator``, in evaluation mode, which is used up.

    That is a ``KernelSynthesis`` for the generators of the paper; its baselines, which begin and
    end otherwise, only run in ``dtype`` with channels last.
    """
    if isinstance(generator, GlobalGenerator | LocalEnhancer):
        return KernelSynthesis(spec, generator, dtype)
    return Synthesis(spec, _channels_last(fold_batch_norms(generator), dtype))


class KernelSynthesis(nn.Module):
    """``model.synthesis.Synthesis`` made for a GPU; H and W must be legal for the generator.

    The first and last layers are Triton kernels, batch norms are folded away, and everything
    else runs in ``dtype`` (float16 or float32) with channels last, ready for ``torch.compile``.
    """

    def __init__(
        self, spec: InputSpec, generator: GlobalGenerator | LocalEnhancer, dtype: torch.dtype
    ) -> None:
        """Take over ``generator``, in evaluation mode; it is of no other use afterwards."""
        super().__init__()
        stages = _stages(fold_batch_norms(generator))
        self.stages = nn.ModuleList(
            _Stage(spec, down, up, level, dtype)
            for level, (down, up) in reversed(list(enumerate(reversed(stages))))
        )
        *_, head, _ = generator.modules()
        assert isinstance(head, nn.Conv2d)
        assert head.bias is not None
        self.head_table = nn.Buffer(head_table(head.weight.detach().to(dtype)))
        self.head_bias = nn.Buffer(head.bias.detach().float())

    def forward(
        self,
        label: Tensor,
        instance: Tensor | None = None,
        style_index: Tensor | None = None,
        style_table: Tensor | None = None,
    ) -> Tensor:
        """Synthesise photographs (N, H, W, 3) uint8; inputs as of ``Synthesis``."""
        styles = None
        if style_index is not None and style_table is not None:
            styles = paint_styles(style_index, style_table)
        features = None
        for stage in self.stages:
            features = stage((label, instance, styles), features)
        pixels: Tensor = pixel_head(features, self.head_table, self.head_bias)
        return pixels


class _Stage(nn.Module):
    """A stem and the layers up to the next stage's sum, on the input halved ``level`` times."""

    def __init__(
        self, spec: InputSpec, down: Layers, up: Layers, level: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        _, conv, norm, _, *rest = down
        assert isinstance(conv, nn.Conv2d)
        # Once the norm is folded, the stem does the ReLU that follows.
        relu = isinstance(norm, nn.Identity)
        body = rest if relu else down[2:]
        # Labels halved twice have too many neighbours for a short list, but few pixels; source
        # images are no labels at all.
        kernel = spec.label_count > 0 and level <= 1
        self.stem = (_KernelStem if kernel else _DenseStem)(spec, conv, relu, level, dtype)
        self.down = _channels_last(nn.Sequential(*body), dtype)
        self.up = _channels_last(nn.Sequential(*up), dtype)

    def forward(self, planes: Planes, below: Tensor | None) -> Tensor:
        """Features (N, C, H, W), to which ``below``, those of the stage before, are added."""
        features = self.down(self.stem(planes))
        out: Tensor = self.up(features if below is None else features + below)
        return out


class _KernelStem(nn.Module):
    """The first convolution as sums of table rows."""

    def __init__(
        self, spec: InputSpec, conv: nn.Conv2d, relu: bool, level: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        assert conv.bias is not None
        self.spec, self.relu, self.level = spec, relu, level
        self.table = nn.Buffer(stem_table(conv.weight.detach().to(dtype), spec.label_count))
        self.bias = nn.Buffer(conv.bias.detach().float())

    def forward(self, planes: Planes) -> Tensor:
        """Convolve the input of a stage: (N, C, H, W), channels last."""
        label, weights = planes[0], (self._dense(planes), self.table, self.bias, self.relu)
        out: Tensor
        if self.level:
            out = pooled_stem(*pool_labels(label, self.spec.label_count), *weights)
        else:
            out = one_hot_stem(label, *weights)
        return out.permute(0, 3, 1, 2)

    def _dense(self, planes: Planes) -> Tensor:
        """Edges and styles (N, H, W, D), as many as the model has."""
        label, instance, styles = planes
        parts = [label.new_empty((len(label), 0, *label.shape[1:]), dtype=torch.float32)]
        if self.spec.edges:
            assert instance is not None
            parts.append(edge_map(instance))
        if styles is not None:
            parts.append(styles)
        dense = torch.cat(parts, dim=1)
        if self.level and dense.shape[1]:
            dense = half_size(dense)
        return dense.to(self.table.dtype).permute(0, 2, 3, 1).contiguous()


class _DenseStem(nn.Module):
    """The first convolution as it is, where there are no labels or hardly any pixels."""

    def __init__(
        self, spec: InputSpec, conv: nn.Conv2d, relu: bool, level: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.spec, self.relu, self.level, self.dtype = spec, relu, level, dtype
        self.conv = _channels_last(conv, dtype)

    def forward(self, planes: Planes) -> Tensor:
        """Convolve the input of a stage: (N, C, H, W)."""
        x = network_input(self.spec, *planes)
        for _ in range(self.level):
            x = half_size(x)
        x = F.pad(x.to(self.dtype), (3, 3, 3, 3), mode="reflect")
        out: Tensor = self.conv(x.contiguous(memory_format=torch.channels_last))
        return F.relu(out) if self.relu else out


def _stages(generator: GlobalGenerator | LocalEnhancer) -> list[tuple[Layers, Layers]]:
    """Split a generator before and after each sum, coarsest stage first; leaves out the head.

    A global generator is one stage. The first part of every stage begins with a stem.
    """
    if isinstance(generator, GlobalGenerator):
        return [(list(generator.model)[:-3], [])]
    stages: list[tuple[Layers, Layers]] = [(list(generator.model), [])]
    for k in range(1, generator.spec.enhancers + 1):
        down, up = (list(generator.get_submodule(f"model{k}_{i}").children()) for i in (1, 2))
        stages.append((down, up))
    del stages[-1][1][-3:]
    return stages


def _channels_last(layers: Module, dtype: torch.dtype) -> Module:
    for parameter in [*layers.parameters(), *layers.buffers()]:
        if not parameter.is_floating_point():
            continue
        last = torch.channels_last if parameter.ndim == 4 else torch.contiguous_format
        parameter.data = parameter.detach().to(dtype).contiguous(memory_format=last)
    return layers
