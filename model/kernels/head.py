"""The generator's last layers as one kernel: 7x7 convolution, tanh, bytes.

The layer reads many channels to make three, so what counts is to read them once and to write
bytes at once: padding, tanh, scaling and rounding need no tensors of their own.

Run on the CPU, for tests, by setting TRITON_INTERPRET=1 before triton is imported.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor
from torch.nn import functional as F

from model.kernels.device import head_kernel
from model.kernels.stem import TAPS
from model.synthesis import to_pixels

NARROWEST = 16
"""Fewest rows and columns of a matrix that tensor cores multiply; zeros fill up to it."""


def head_table(weight: Tensor) -> Tensor:
    """Lay out the weights of a 7x7 convolution (outputs, C, 7, 7) for ``pixel_head``.

    Returns (49, C', 16): C' is C filled up with zeros to a power of two. ``outputs`` is at most
    16.
    """
    outputs, channels = weight.shape[:2]
    taps = weight.permute(2, 3, 1, 0).reshape(TAPS, channels, outputs)
    rows = max(NARROWEST, triton.next_power_of_2(channels))
    return F.pad(taps, (0, NARROWEST - outputs, 0, rows - channels)).contiguous()


@torch.library.custom_op("hdsynth::pixel_head", mutates_args=())
def pixel_head(features: Tensor, table: Tensor, bias: Tensor) -> Tensor:
    """Reflect-padded 7x7 convolution, tanh, and [-1, 1] rounded to bytes.

    ``features`` (N, C, H, W), best with channels last, H and W at least 4; ``table`` of the same
    type as of ``head_table``, float16 or float32; ``bias`` (outputs,). Sums in float32; returns
    (N, H, W, outputs) uint8.
    """
    n, channels, height, width = features.shape
    out = _empty_pixels(features, bias)
    pixels, block = n * height * width, 256
    head_kernel[(triton.cdiv(pixels, block),)](
        features.permute(0, 2, 3, 1).contiguous(), table, bias, out,
        height, width, pixels, channels, bias.shape[0],
        BLOCK=block, CHANNELS=table.shape[1], COLUMNS=NARROWEST, num_warps=4,
    )  # fmt: skip
    return out


def reference_head(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What ``pixel_head`` computes, in plain torch; (N, H, W, outputs) uint8."""
    padded = F.pad(features, (3, 3, 3, 3), mode="reflect")
    return to_pixels(torch.tanh(F.conv2d(padded, weight, bias)))


# What torch.compile needs to know: shape and type without a run.
@pixel_head.register_fake
def _(features: Tensor, _table: Tensor, bias: Tensor) -> Tensor:
    return _empty_pixels(features, bias)


def _empty_pixels(features: Tensor, bias: Tensor) -> Tensor:
    n, _, height, width = features.shape
    return features.new_empty((n, height, width, bias.shape[0]), dtype=torch.uint8)
