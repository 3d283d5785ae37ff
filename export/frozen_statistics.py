"""Instance norm that can keep the statistics of another photograph, as an ONNX graph.

Instance norm takes mean and variance of every channel from the very picture that it normalises, so
that a photograph changes everywhere when a part of the scene does, and a region that is synthesised
alone differs in colour from the same region of the whole. The graph written here also returns the
statistics that it used, and takes those of an earlier run in their place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model.bundle import BundleError

GIVEN, FROZEN, USED = "statistics", "frozen", "used_statistics"
"""Inputs: (N, K, 2) float32, mean and variance of the K channels of all norms in the graph's order,
and (N,) bool, whether a scene uses them. Output: (N, K, 2) float32, what every scene has used."""


def write_frozen_graph(source: Path, target: Path) -> None:
    """Rewrite the float32 generator graph ``source`` with the inputs and the output above.

    ``target`` lies in the same folder, because both name the weights' file. Where ``frozen`` is
    false the photograph is that of the source. Raises BundleError where nothing can be frozen.
    """
    model = onnx.load(source, load_external_data=False)
    graph = model.graph
    norms = [node for node in graph.node if node.op_type == "InstanceNormalization"]
    if not norms:
        raise BundleError(
            f"{source.parent}: the generator has no instance norm, whose statistics could be "
            "frozen; export it without --frozen-statistics"
        )
    channels = [_channels(graph, node.input[1]) for node in norms]
    parts = [f"{GIVEN}.{number}" for number in range(len(norms))]
    used = [f"{USED}.{number}" for number in range(len(norms))]
    nodes = [
        _constant("frozen.axes", [1, 2]),
        _constant("frozen.channels", channels),
        helper.make_node("Unsqueeze", [FROZEN, "frozen.axes"], ["frozen.rows"]),
        helper.make_node("Split", [GIVEN, "frozen.channels"], parts, axis=1),
    ]
    for node in graph.node:
        if node.op_type != "InstanceNormalization":
            nodes.append(node)
            continue
        number = norms.index(node)
        nodes += _norm(node, f"frozen.{number}", parts[number], used[number])
    nodes.append(helper.make_node("Concat", used, [USED], axis=1))
    del graph.node[:]
    graph.node.extend(nodes)
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    shape: list[str | int | None] = [batch, sum(channels), 2]
    graph.input.append(helper.make_tensor_value_info(GIVEN, TensorProto.FLOAT, shape))
    graph.input.append(helper.make_tensor_value_info(FROZEN, TensorProto.BOOL, [batch]))
    graph.output.append(helper.make_tensor_value_info(USED, TensorProto.FLOAT, shape))
    target.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(target, full_check=True)


def _norm(norm: onnx.NodeProto, name: str, given: str, used: str) -> list[onnx.NodeProto]:
    """The nodes that take the place of one instance norm of (N, C, ...)."""
    x, scale, bias = norm.input
    epsilon = helper.get_node_attr_value(norm, "epsilon")
    # Every line is one operation: what it makes, from what.
    operations: list[tuple[str, str, list[str], dict[str, Any]]] = [
        ("flat", "Reshape", [x, "rows"], {}),
        ("mean", "ReduceMean", ["flat", "pixels"], {"keepdims": 1}),
        ("apart", "Sub", ["flat", "mean"], {}),
        ("squares", "Mul", ["apart", "apart"], {}),
        ("variance", "ReduceMean", ["squares", "pixels"], {"keepdims": 1}),
        ("own", "Concat", ["mean", "variance"], {"axis": 2}),
        (used, "Where", ["frozen.rows", given, "own"], {}),
        ("used_mean", "Gather", [used, "first"], {"axis": 2}),
        ("used_variance", "Gather", [used, "second"], {"axis": 2}),
        ("square", "Add", ["used_variance", "epsilon"], {}),
        ("deviation", "Sqrt", ["square"], {}),
        ("weight", "Unsqueeze", [scale, "column"], {}),
        ("gain", "Div", ["weight", "deviation"], {}),
        ("centred", "Sub", ["flat", "used_mean"], {}),
        ("scaled", "Mul", ["centred", "gain"], {}),
        ("shift", "Unsqueeze", [bias, "column"], {}),
        ("made", "Add", ["scaled", "shift"], {}),
        ("shape", "Shape", [x], {}),
        (norm.output[0], "Reshape", ["made", "shape"], {}),
    ]
    constants = {"rows": [0, 0, -1], "pixels": [2], "first": [0], "second": [1], "column": [1]}
    own = {made for made, *_ in operations} - {used, norm.output[0]} | {*constants, "epsilon"}

    def full(value: str) -> str:
        return f"{name}.{value}" if value in own else value

    nodes = [_constant(full(key), values) for key, values in constants.items()]
    nodes.append(_constant(full("epsilon"), np.float32(epsilon)))
    nodes += [
        helper.make_node(kind, [full(value) for value in inputs], [full(made)], **attributes)
        for made, kind, inputs, attributes in operations
    ]
    return nodes


def _constant(name: str, value: list[int] | np.float32) -> onnx.NodeProto:
    array = np.asarray(value, None if isinstance(value, np.float32) else np.int64)
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))


def _channels(graph: onnx.GraphProto, scale: str) -> int:
    """How many channels the norm with this scale has."""
    return next(int(tensor.dims[0]) for tensor in graph.initializer if tensor.name == scale)
