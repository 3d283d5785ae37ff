"""The generator's first 7x7 convolution without the one-hot tensor.

A convolution over one-hot labels is a sum of table rows: for every one of its 49 taps the label
under the tap chooses a row of weights. Nothing of the one-hot tensor is built, and void labels
add nothing. Edges and style codes, a few channels, stay an ordinary dense part of the sum.

The trunk of a local enhancer sees the input averaged down by two (paper section 3.2), so its
one-hots are fractions: ``pool_labels`` turns the nine labels under a pixel into the short list
of distinct ones with their shares, and the stem adds a row per entry. Inside a region that is one.

Run on the CPU, for tests, by setting TRITON_INTERPRET=1 before triton is imported.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor
from torch.nn import functional as F

from model.generator import half_size
from model.inputs import one_hot
from model.kernels.device import pool_kernel, stem_kernel

TAPS = 49
WINDOW = 9
"""Labels under one pixel of the halved input, and so the most distinct ones."""


def stem_table(weight: Tensor, label_count: int) -> Tensor:
    """Lay out the weights of a 7x7 convolution (C, inputs, 7, 7) as rows: (49, inputs + 1, C).

    Each tap has a row per label, a row of zeros for void, and a row per dense channel after the
    labels.
    """
    taps = weight.permute(2, 3, 1, 0).reshape(TAPS, weight.shape[1], weight.shape[0])
    void = taps.new_zeros(TAPS, 1, weight.shape[0])
    return torch.cat([taps[:, :label_count], void, taps[:, label_count:]], dim=1).contiguous()


@torch.library.custom_op("hdsynth::one_hot_stem", mutates_args=())
def one_hot_stem(label: Tensor, dense: Tensor, table: Tensor, bias: Tensor, relu: bool) -> Tensor:
    """Reflect-padded 7x7 convolution over the one-hot of ``label`` beside ``dense``.

    ``label`` (N, H, W) uint8, ids from label_count on are void; ``dense`` (N, H, W, D) of any
    number type; ``table`` as of ``stem_table``, float16, bfloat16 or float32; ``bias`` (C,).
    H and W are at least 4. Sums in float32; returns (N, H, W, C) in the table's type, after ReLU
    where ``relu`` says so.
    """
    return _launch((label,), dense, table, bias, relu)


@torch.library.custom_op("hdsynth::pool_labels", mutates_args=())
def pool_labels(label: Tensor, label_count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Halve a label map (N, H, W) uint8 as ``model.generator.half_size`` halves its one-hot.

    With h = ceil(H / 2) and w = ceil(W / 2) returns the distinct labels under each pixel
    (9, N, h, w) uint8, their shares (9, N, h, w) float32, and how many there are (N, h, w)
    uint8; entries from that number on are undefined. Void takes its share, but is no entry.
    """
    labels, shares, distinct = _empty_lists(label)
    _, height, width = label.shape
    pixels, block = distinct.numel(), 256
    pool_kernel[(triton.cdiv(pixels, block),)](
        label.contiguous(), labels, shares, distinct,
        height, width, *distinct.shape[1:], pixels, label_count, BLOCK=block,
    )  # fmt: skip
    return labels, shares, distinct


@torch.library.custom_op("hdsynth::pooled_stem", mutates_args=())
def pooled_stem(
    labels: Tensor, shares: Tensor, distinct: Tensor,
    dense: Tensor, table: Tensor, bias: Tensor, relu: bool,
) -> Tensor:  # fmt: skip
    """``one_hot_stem`` over fractional one-hots, given as ``pool_labels`` lists them.

    ``dense`` (N, h, w, D) holds the other channels, averaged down likewise.
    """
    return _launch((labels, shares, distinct), dense, table, bias, relu)


def reference_stem(label: Tensor, dense: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What ``one_hot_stem`` computes, in plain torch; (N, C, H, W)."""
    return _convolve(_expand(label, dense, weight), weight, bias)


def reference_pooled_stem(label: Tensor, dense: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What ``pooled_stem`` computes, in plain torch from maps of full size; (N, C, h, w)."""
    return _convolve(half_size(_expand(label, dense, weight)), weight, bias)


def _expand(label: Tensor, dense: Tensor, weight: Tensor) -> Tensor:
    """The convolution's input (N, inputs, H, W) in the type of ``weight``."""
    count = weight.shape[1] - dense.shape[3]
    planes = dense.permute(0, 3, 1, 2).to(weight.dtype)
    return torch.cat([one_hot(label, count, weight.dtype), planes], dim=1)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(F.pad(x, (3, 3, 3, 3), mode="reflect"), weight, bias)


def _launch(
    labels: tuple[Tensor, ...], dense: Tensor, table: Tensor, bias: Tensor, relu: bool
) -> Tensor:
    """Run the kernel over a label map, or over the three tensors of ``pool_labels``."""
    n, height, width = labels[0].shape[-3:]
    channels, planes = table.shape[2], dense.shape[3]
    out = table.new_empty((n, height, width, channels))
    pixels = n * height * width
    block, block_channels = 128, min(32, triton.next_power_of_2(channels))
    # A kernel takes no absent pointer: without lists it gets the map, which it then does not read.
    label, shares, distinct = (t.contiguous() for t in (labels * 3 if len(labels) == 1 else labels))
    stem_kernel[(triton.cdiv(pixels, block), triton.cdiv(channels, block_channels))](
        label, shares, distinct, dense.contiguous(), table, bias,
        out, height, width, pixels, table.shape[1] - 1 - planes, channels,
        POOLED=len(labels) > 1, DENSE=planes, RELU=relu,
        BLOCK=block, BLOCK_CHANNELS=block_channels, num_warps=2,
    )  # fmt: skip
    return out


def _empty_lists(label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    n, height, width = label.shape
    size = (n, (height + 1) // 2, (width + 1) // 2)
    labels = label.new_empty((WINDOW, *size))
    return labels, label.new_empty(labels.shape, dtype=torch.float32), label.new_empty(size)


# What torch.compile needs to know: shapes and types without a run.


@one_hot_stem.register_fake
def _(label: Tensor, _dense: Tensor, table: Tensor, *_: object) -> Tensor:
    return table.new_empty((*label.shape, table.shape[2]))


@pool_labels.register_fake
def _(label: Tensor, _count: int) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_lists(label)


@pooled_stem.register_fake
def _(
    _labels: Tensor, _shares: Tensor, distinct: Tensor, _dense: Tensor, table: Tensor, *_: object
) -> Tensor:
    return table.new_empty((*distinct.shape, table.shape[2]))
