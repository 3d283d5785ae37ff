"""Winograd's form of residual blocks computes what the plain convolutions compute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.winograd import use_winograd

CHANNELS = 128


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 5, 9), (1, 12, 16), (3, 3, 4)])
def test_same_values_at_any_size(shape: tuple[int, int, int]) -> None:
    """Two convolutions, one with a norm, of images that tiles of 4x4 cover exactly or not."""
    count, height, width = shape
    model = _two_convolutions()
    x = np.random.default_rng(1).normal(size=(count, CHANNELS, height, width)).astype(np.float32)
    wanted, made = _run(model, x), _run(_rewritten(model), x)
    assert made.shape == wanted.shape
    assert np.abs(wanted).max() > 1
    assert np.abs(made - wanted).max() < 1e-4


def test_indices_are_computed_once() -> None:
    """All convolutions of one size share them, and none is left in the plain form."""
    model = _two_convolutions()
    model.graph.value_info.append(_image("c", CHANNELS))
    kinds = Counter(node.op_type for node in _rewritten(model).graph.node)
    assert (kinds["Conv"], kinds["BatchNormalization"], kinds["Pad"]) == (0, 0, 0)
    assert kinds["MatMul"] == 2 * 4
    assert kinds["Range"] == 8


@pytest.mark.parametrize(
    ("channels", "mode", "strides"),
    [(64, "reflect", [1, 1]), (CHANNELS, "edge", [1, 1]), (CHANNELS, "reflect", [2, 2])],
)
def test_others_are_left_alone(channels: int, mode: str, strides: list[int]) -> None:
    """Too few channels to gain, other borders, other strides."""
    model = _model(_convolution(0, "x", "y", channels, mode, strides), channels)
    assert _rewritten(model).graph.node == model.graph.node


Part = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]


def _two_convolutions() -> onnx.ModelProto:
    """One that is followed by a norm, one that is not."""
    rng = np.random.default_rng(2)
    nodes, tensors = _convolution(0, "x", "a", CHANNELS)
    scale, shift, mean = rng.normal(size=(3, CHANNELS)).astype(np.float32)
    variance = rng.uniform(0.5, 2, CHANNELS).astype(np.float32)
    tensors += [
        numpy_helper.from_array(values, name)
        for name, values in (
            ("scale", scale), ("shift", shift), ("mean", mean), ("variance", variance)
        )
    ]  # fmt: skip
    nodes.append(
        helper.make_node(
            "BatchNormalization", ["a", "scale", "shift", "mean", "variance"], ["b"], epsilon=1e-5
        )
    )
    nodes.append(helper.make_node("Relu", ["b"], ["c"]))
    second = _convolution(1, "c", "y", CHANNELS)
    return _model((nodes + second[0], tensors + second[1]), CHANNELS)


def _convolution(
    number: int,
    x: str,
    y: str,
    channels: int,
    mode: str = "reflect",
    strides: Sequence[int] = (1, 1),
) -> Part:
    rng = np.random.default_rng(number)
    weight = rng.normal(size=(channels, channels, 3, 3)) / np.sqrt(9 * channels)
    pads, name = f"pads{number}", f"padded{number}"
    nodes = [
        helper.make_node("Pad", [x, pads], [name], mode=mode),
        helper.make_node(
            "Conv", [name, f"weight{number}", f"bias{number}"], [y],
            kernel_shape=[3, 3], strides=strides, pads=[0, 0, 0, 0],
        ),
    ]  # fmt: skip
    tensors = {
        pads: np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        f"weight{number}": weight.astype(np.float32),
        f"bias{number}": rng.normal(size=channels).astype(np.float32),
    }
    return nodes, [numpy_helper.from_array(values, key) for key, values in tensors.items()]


def _model(part: Part, channels: int) -> onnx.ModelProto:
    nodes, tensors = part
    x, y = _image("x", channels), _image("y", channels)
    graph = helper.make_graph(nodes, "blocks", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _image(name: str, channels: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, "h", "w"])


def _rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = ir.from_proto(model)
    use_winograd(graph)
    made = ir.to_proto(graph)
    onnx.checker.check_model(made, full_check=True)
    return made


def _run(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    made: NDArray[np.float32] = session.run(None, {"x": x})[0]
    return made
