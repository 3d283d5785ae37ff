"""Arrange an ONNX graph so that runtimes on processors run it faster, with equal results.

Two layers of the networks are slow there: the transposed 3x3 convolutions, which runtimes
neither vectorise nor quantise well, and the last 7x7 convolution, whose three output channels fill
less than a quarter of a vector. The first becomes four plain convolutions, one for each of 2x2
pixels, and a step that lays them side by side; the second one that computes 2x2 pixels at once.
For the residual blocks see ``export.winograd``. Weights are arranged by nodes that runtimes fold
when they load the graph, so that the file still points to the bundle's own weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import onnx_ir as ir
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.pattern import RewriteRule

from export.winograd import use_winograd

Runtime = Literal["onnx", "openvino"]

_TAPS = ((1,), (2, 0))
"""Taps of a transposed convolution of stride 2 that an even and an odd output pixel see."""


def use_processor_forms(graph: ir.Model, runtime: Runtime) -> None:
    """Rewrite transposed 3x3 convolutions of stride 2 and 7x7 convolutions before a tanh.

    What is fast differs: ONNX Runtime lays pixels side by side on one core and slowly but for
    plain copies, and gains by Winograd's form of residual blocks; OpenVINO has a fast operator
    and slow copies.
    """
    if runtime == "onnx":
        use_winograd(graph)
    lay = _interleave if runtime == "onnx" else _to_space

    def pixels(op: Any, x: Any, weight: Any, bias: Any, **_: Any) -> Any:
        return lay(op, _four_pixels(op, x, weight, bias))

    def normed_pixels(
        op: Any, x: Any, weight: Any, bias: Any, *, normed: Any, **values: Any
    ) -> Any:
        norm = [values[name] for name in ("scale", "shift", "mean", "var")]
        epsilon = normed.producer().attributes.get_float("epsilon")
        made = _four_pixels(op, x, weight, bias)
        return lay(op, [op.Relu(op.BatchNormalization(m, *norm, epsilon=epsilon)) for m in made])

    # Each rule is done before the next begins: the first is a longer form of the second.
    for rule in (
        RewriteRule(_normed_upsampling, normed_pixels, _doubles_size),
        RewriteRule(_upsampling, pixels, _doubles_size),
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


def _last_pixels(op: Any, x: Any, weight: Any, bias: Any, made: Any) -> Any:
    """An 8x8 window at every second pixel holds the 7x7 windows of 2x2 pixels."""
    windows = [
        op.Pad(weight, _integers(op, [0, 0, row, column, 0, 0, 1 - row, 1 - column]))
        for row in (0, 1)
        for column in (0, 1)
    ]
    pads = made.producer().attributes.get_ints("pads")
    pixels = op.Conv(x, op.Concat(*windows, axis=0), op.Concat(*[bias] * 4, axis=0),
                     kernel_shape=[8, 8], strides=[2, 2], pads=pads)  # fmt: skip
    return op.DepthToSpace(op.Tanh(pixels), blocksize=2, mode="DCR")


def _four_pixels(op: Any, x: Any, weight: Any, bias: Any) -> list[Any]:
    """Convolutions for the four pixels that each pixel becomes, row by row: (N, C, H, W) each."""
    weight = op.Transpose(weight, perm=[1, 0, 2, 3])
    made = []
    for row, row_taps in enumerate(_TAPS):
        for column, column_taps in enumerate(_TAPS):
            taps = op.Gather(weight, _integers(op, row_taps), axis=2)
            taps = op.Gather(taps, _integers(op, column_taps), axis=3)
            # The second tap of an odd pixel lies one pixel further; beyond the image are zeros.
            made.append(op.Conv(x, taps, bias, kernel_shape=[1 + row, 1 + column],
                                pads=[0, 0, row, column]))  # fmt: skip
    return made


def _to_space(op: Any, pixels: Sequence[Any]) -> Any:
    """Lay four (N, C, H, W) side by side as (N, C, 2 H, 2 W)."""
    return op.DepthToSpace(op.Concat(*pixels, axis=1), blocksize=2, mode="DCR")


def _interleave(op: Any, pixels: Sequence[Any]) -> Any:
    """The same by copies alone: columns to rows of (N, C, H, 1, 2 W), rows to the image."""
    rows = []
    for left, right in (pixels[:2], pixels[2:]):
        pair = op.Concat(*(op.Unsqueeze(p, _integers(op, [4])) for p in (left, right)), axis=4)
        rows.append(op.Unsqueeze(op.Reshape(pair, _integers(op, [0, 0, 0, -1])),
                                 _integers(op, [3])))  # fmt: skip
    image = op.Concat(*rows, axis=3)
    shape = [op.Shape(image, start=0, end=2), _integers(op, [-1]), op.Shape(image, start=4, end=5)]
    return op.Reshape(image, op.Concat(*shape, axis=0))


def _integers(op: Any, values: Iterable[int]) -> Any:
    return op.Constant(value_ints=list(values))
