"""Arrange an ONNX graph so that runtimes on processors run it faster, with equal results.

Two layers of the networks are slow there: the transposed 3x3 convolutions, which runtimes
neither vectorise nor quantise well, and the last 7x7 convolution, whose three output channels fill
less than a quarter of a vector. Both become plain convolutions that compute 2x2 pixels at once,
side by side as channels, and a step that lays them out. Weights are arranged by nodes that
runtimes fold when they load the graph, so that the file still points to the bundle's own weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.pattern import RewriteRule

_TAPS = (1, 3, 2, 0)
"""Which tap of a transposed convolution of stride 2 meets which input pixel.

For output pixel 0, then 1, and input pixels 0 and 1 each: an even output sees tap 1 alone, an odd
one taps 2 and 0. Tap 3 does not exist; it is padded with zeros.
"""


def use_processor_forms(graph: ir.Model) -> None:
    """Rewrite transposed 3x3 convolutions of stride 2 and 7x7 convolutions before a tanh."""
    # Each rule is done before the next begins: the first is a longer form of the second.
    for rule in (
        RewriteRule(_normed_upsampling, _normed_pixels, _doubles_size),
        RewriteRule(_upsampling, _pixels, _doubles_size),
        RewriteRule(_last, _last_pixels, _makes_image),
    ):
        rewrite(graph, [rule])


def _upsampling(op: Any, x: Any, weight: Any, bias: Any) -> Any:
    """Pattern: a transposed convolution."""
    return op.ConvTranspose(x, weight, bias, _allow_other_attributes=True, _outputs=["made"])


def _normed_upsampling(  # noqa: PLR0917, the rewriter passes them by position
    op: Any, x: Any, weight: Any, bias: Any, scale: Any, shift: Any, mean: Any, var: Any
) -> Any:
    """Pattern: the same and what runtimes fuse with a convolution right before it."""
    made = _upsampling(op, x, weight, bias)
    normed = op.BatchNormalization(made, scale, shift, mean, var, _allow_other_attributes=True,
                                   _outputs=["normed"])  # fmt: skip
    return op.Relu(normed)


def _last(op: Any, x: Any, weight: Any, bias: Any) -> Any:
    """Pattern: the convolution that makes the image."""
    made = op.Conv(x, weight, bias, _allow_other_attributes=True, _outputs=["made"])
    return op.Tanh(made)


def _doubles_size(_context: Any, weight: ir.Value, made: ir.Value, **_: Any) -> bool:
    return _has(made, weight, window=3, strides=(2, 2), pads=(1,) * 4, output_padding=(1, 1))


def _makes_image(_context: Any, weight: ir.Value, made: ir.Value, **_: Any) -> bool:
    return _has(made, weight, window=7, strides=(1, 1))


def _has(made: ir.Value, weight: ir.Value, window: int, **attributes: tuple[int, ...]) -> bool:
    """Whether a convolution has this window and these attributes, and weights not yet arranged."""
    node = made.producer()
    if node is None or weight.shape is None or not weight.is_initializer():
        return False
    return tuple(weight.shape[2:]) == (window, window) and all(
        node.attributes.get_ints(name) == values for name, values in attributes.items()
    )


def _pixels(op: Any, x: Any, weight: Any, bias: Any, **_: Any) -> Any:
    return _side_by_side(op, _four_pixels(op, x, weight, bias))


def _normed_pixels(op: Any, x: Any, weight: Any, bias: Any, *, normed: Any, **norm: Any) -> Any:
    parameters = [_four_times(op, norm[name]) for name in ("scale", "shift", "mean", "var")]
    epsilon = normed.producer().attributes.get_float("epsilon")
    pixels = _four_pixels(op, x, weight, bias)
    return _side_by_side(op, op.Relu(op.BatchNormalization(pixels, *parameters, epsilon=epsilon)))


def _last_pixels(op: Any, x: Any, weight: Any, bias: Any, made: Any) -> Any:
    """An 8x8 window at every second pixel holds the 7x7 windows of 2x2 pixels."""
    windows = [
        op.Pad(weight, _integers(op, [0, 0, row, column, 0, 0, 1 - row, 1 - column]))
        for row in (0, 1)
        for column in (0, 1)
    ]
    pads = made.producer().attributes.get_ints("pads")
    pixels = op.Conv(x, op.Concat(*windows, axis=0), _four_times(op, bias),
                     kernel_shape=[8, 8], strides=[2, 2], pads=pads)  # fmt: skip
    return _side_by_side(op, op.Tanh(pixels))


def _four_pixels(op: Any, x: Any, weight: Any, bias: Any) -> Any:
    """The transposed convolution as one of 2x2 taps: (N, 4 C, H, W), channels of 2x2 pixels."""
    taken, given = weight.shape[:2]
    taps = op.Pad(weight, _integers(op, [0] * 6 + [1, 1]))
    for axis in (2, 3):
        taps = op.Gather(taps, _integers(op, _TAPS), axis=axis)
    # in, out, pixel row, tap row, pixel column, tap column -> pixels, out, in, taps
    taps = op.Reshape(taps, _integers(op, [taken, given, 2, 2, 2, 2]))
    taps = op.Transpose(taps, perm=[2, 4, 1, 0, 3, 5])
    taps = op.Reshape(taps, _integers(op, [4 * given, taken, 2, 2]))
    return op.Conv(x, taps, _four_times(op, bias), kernel_shape=[2, 2], pads=[0, 0, 1, 1])


def _side_by_side(op: Any, pixels: Any) -> Any:
    return op.DepthToSpace(pixels, blocksize=2, mode="DCR")


def _four_times(op: Any, vector: Any) -> Any:
    """Per-channel parameters for the channels of 2x2 pixels."""
    return op.Concat(*[vector] * 4, axis=0)


def _integers(op: Any, values: Iterable[int]) -> Any:
    return op.Constant(value_ints=list(values))
