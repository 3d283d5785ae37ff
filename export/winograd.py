"""Residual blocks in Winograd's form, in which ONNX Runtime computes them twice as fast.

F(4x4, 3x3) of Lavin and Gray ("Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
section 4.3) makes tiles of 4x4 pixels from 6x6 with 36 multiplications for each pair of channels
instead of 144. Pixels become a list for it, all channels of a pixel side by side: to gather tiles
from that list mirrors the borders too, and all that remains are products of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.pattern import RewriteRule

TILE, WINDOW = 4, 6
"""Sides in pixels of what a tile makes and of what it sees."""
CHANNELS = range(128, 513)
"""With fewer channels the transforms cost what the products save. With more the transformed
weights, four times as many as the network's own, would take gigabytes of memory."""

_Matrix = tuple[tuple[int, ...], ...]
_SEE: _Matrix = ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
                 (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1))  # fmt: skip
_WEIGH: _Matrix = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))
"""24 times the paper's G, whose entries are fractions."""
_MAKE: _Matrix = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0),
                  (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))  # fmt: skip


def use_winograd(graph: ir.Model) -> None:
    """Rewrite mirrored 3x3 convolutions of ``CHANNELS`` channels, with their norm if it is fixed.

    The results are equal but for rounding: about 1e-5 of the largest value.
    """
    shared = _Shared()

    def plain(op: Any, x: Any, weight: Any, bias: Any, **_: Any) -> Any:
        return _convolve(op, shared, x, weight, weight.shape, bias)

    def normed(op: Any, x: Any, weight: Any, bias: Any, *, normed: Any, **values: Any) -> Any:
        epsilon = op.Constant(value_float=normed.producer().attributes.get_float("epsilon"))
        gain = op.Div(values["scale"], op.Sqrt(op.Add(values["var"], epsilon)))
        shift = op.Add(op.Mul(op.Sub(bias, values["mean"]), gain), values["shift"])
        scaled = op.Mul(weight, op.Unsqueeze(gain, _integers(op, 1, 2, 3)))
        return _convolve(op, shared, x, scaled, weight.shape, shift)

    # Each rule is done before the next begins: the first is a longer form of the second.
    for rule in (
        RewriteRule(_normed, normed, _is_mirrored),
        RewriteRule(_plain, plain, _is_mirrored),
    ):
        rewrite(graph, [rule])
    # What is shared may have been made by a later node of the first rule.
    graph.graph.sort()


def _plain(op: Any, x: Any, pads: Any, weight: Any, bias: Any) -> Any:
    """Pattern: a convolution of an image that was extended."""
    padded = op.Pad(x, pads, _allow_other_attributes=True, _outputs=["padded"])
    return op.Conv(padded, weight, bias, _allow_other_attributes=True, _outputs=["made"])


def _normed(  # noqa: PLR0917, the rewriter passes them by position
    op: Any, x: Any, pads: Any, weight: Any, bias: Any, scale: Any, shift: Any, mean: Any, var: Any
) -> Any:
    """Pattern: the same and a norm with fixed statistics."""
    return op.BatchNormalization(_plain(op, x, pads, weight, bias), scale, shift, mean, var,
                                 _allow_other_attributes=True, _outputs=["normed"])  # fmt: skip


def _is_mirrored(
    _context: Any, pads: ir.Value, weight: ir.Value, padded: Any, made: Any, **_: Any
) -> bool:
    """Whether this is a plain 3x3 convolution, one mirrored pixel around, of enough channels."""
    pad, convolution = padded.producer().attributes, made.producer().attributes
    sides = ir.convenience.get_const_tensor(pads)
    return (
        pad.get_string("mode", "constant") == "reflect"
        and sides is not None
        and sides.numpy().tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
        and weight.shape is not None
        and tuple(weight.shape[2:]) == (3, 3)
        and all(count in CHANNELS for count in weight.shape[:2])
        and convolution.get_int("group", 1) == 1
        and convolution.get_ints("dilations", (1, 1)) == (1, 1)
        and convolution.get_ints("strides", (1, 1)) == (1, 1)
        and convolution.get_ints("pads", (0, 0, 0, 0)) == (0, 0, 0, 0)
    )


def _convolve(
    op: Any, shared: _Shared, x: Any, weight: Any, shape: Sequence[int], shift: Any
) -> Any:
    """Convolve (N, I, H, W) by weights of ``shape`` (O, I, 3, 3) to (N, O, H, W)."""
    out_channels, channels = shape[:2]
    seen, made = shared.indices(op, x)
    taps = op.Reshape(op.Transpose(weight, perm=[2, 3, 1, 0]), _integers(op, 9, -1))
    weights = op.Reshape(op.MatMul(shared.square(op, _WEIGH, 1 / 24**2), taps),
                         _integers(op, WINDOW**2, channels, out_channels))  # fmt: skip
    # ONNX Runtime makes one step of these transposes and of its own changes of layout.
    pixels = op.Reshape(op.Transpose(x, perm=[0, 2, 3, 1]), _integers(op, -1, channels))
    flat = _integers(op, WINDOW**2, -1)
    tiles = op.MatMul(shared.square(op, _SEE), op.Reshape(op.Gather(pixels, seen, axis=0), flat))
    tiles = op.Reshape(tiles, _integers(op, WINDOW**2, -1, channels))
    tiles = op.Reshape(op.MatMul(tiles, weights), flat)
    pixels = op.MatMul(shared.square(op, _MAKE), tiles)
    pixels = op.Reshape(pixels, _integers(op, -1, out_channels))
    return op.Transpose(op.Add(op.Gather(pixels, made, axis=0), shift), perm=[0, 3, 1, 2])


class _Shared:
    """Nodes that rewritten convolutions have in common."""

    def __init__(self) -> None:
        self._indices: dict[object, tuple[Any, Any]] = {}
        self._squares: dict[_Matrix, Any] = {}

    def indices(self, op: Any, x: Any) -> tuple[Any, Any]:
        """Return where the pixels that tiles see lie, and those that they make.

        The former are (36, N * tiles) of the N * H * W pixels of ``x`` (N, C, H, W), the latter
        (N, H, W) of the 16 * N * tiles pixels of the result.
        """
        axes = (0, 2, 3)
        size: object = x
        # Of sides without a number or symbol nobody knows whether they are another image's too.
        if x.shape is not None and not any(x.shape.is_unknown_dim(axis) for axis in axes):
            size = tuple(str(x.shape[axis]) for axis in axes)
        if size not in self._indices:
            sides = [op.Shape(x, start=axis, end=axis + 1) for axis in axes]
            self._indices[size] = (_seen(op, *sides), _made(op, *sides))
        return self._indices[size]

    def square(self, op: Any, transform: _Matrix, scale: float = 1.0) -> Any:
        """Return the transform of both sides of a square as one matrix of its pixels."""
        if transform not in self._squares:
            matrix = np.kron(transform, transform) * scale
            self._squares[transform] = op.Constant(value=ir.tensor(matrix.astype(np.float32)))
        return self._squares[transform]


def _seen(op: Any, batch: Any, height: Any, width: Any) -> Any:
    """Where the pixels that tiles see lie: (36, N * tiles)."""
    zero, one = _integers(op, 0), _integers(op, 1)

    def along(length: Any) -> Any:
        """(6, tiles) numbers of pixels along one side, mirrored at both ends."""
        first = op.Sub(op.Mul(_count(op, _tiles(op, length)), _integers(op, TILE)), one)
        place = op.Add(op.Unsqueeze(_count(op, _integers(op, WINDOW)), one), first)
        last = op.Sub(length, one)
        mirrored = op.Sub(last, op.Abs(op.Sub(last, op.Abs(place))))
        # The last tile of a short side sees more than there is to mirror, but for pixels only
        # that lie outside of the image.
        return op.Max(mirrored, zero)

    rows = op.Unsqueeze(op.Mul(along(height), width), _integers(op, 1, 3))
    columns = op.Unsqueeze(along(width), _integers(op, 0, 2))
    in_image = op.Reshape(op.Add(rows, columns), _integers(op, WINDOW**2, 1, -1))
    images = op.Unsqueeze(op.Mul(_count(op, batch), op.Mul(height, width)), one)
    return op.Reshape(op.Add(in_image, images), _integers(op, WINDOW**2, -1))


def _made(op: Any, batch: Any, height: Any, width: Any) -> Any:
    """Where the pixels that tiles make lie: (N, H, W)."""
    side = _integers(op, TILE)
    rows = op.Unsqueeze(_count(op, height), _integers(op, 1))
    columns = _count(op, width)
    of_image = op.Mul(_tiles(op, height), _tiles(op, width))
    tile = op.Add(op.Mul(op.Div(rows, side), _tiles(op, width)), op.Div(columns, side))
    place = op.Add(op.Mul(op.Mod(rows, side), side), op.Mod(columns, side))
    in_image = op.Add(op.Mul(place, op.Mul(batch, of_image)), tile)
    return op.Add(op.Unsqueeze(op.Mul(_count(op, batch), of_image), _integers(op, 1, 2)), in_image)


def _tiles(op: Any, length: Any) -> Any:
    """How many tiles cover a side of (1,) pixels."""
    return op.Div(op.Add(length, _integers(op, TILE - 1)), _integers(op, TILE))


def _count(op: Any, length: Any) -> Any:
    """(length,) numbers from 0."""
    ends = (_integers(op, 0), length, _integers(op, 1))
    return op.Range(*(op.Squeeze(end) for end in ends))


def _integers(op: Any, *values: int) -> Any:
    return op.Constant(value_ints=list(values))
