"""Export a bundle's generator to ONNX: maps in as integers, photographs out as bytes.

Batch, height and width are dynamic. The graph holds no weights: its initialisers point into
the bundle's ``generator.safetensors``, so that weights exist once and cannot disagree.
"""

from __future__ import annotations

import json
import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor

from model.bundle import GENERATOR_WEIGHTS, Bundle
from model.checkpoint import load_generator
from model.synthesis import Synthesis

OPSET = 20


def export_graph(bundle: Bundle, path: Path) -> None:
    """Write the ONNX graph of ``bundle`` to ``path``, in the bundle's folder.

    Raises BundleError when the weights do not fit, onnx.checker.ValidationError for a graph
    that is not valid ONNX.
    """
    program = _trace(bundle)
    graph = program.model_proto
    _drop_metadata(graph)
    _point_to_weights(graph, bundle.path(GENERATOR_WEIGHTS))
    path.write_bytes(graph.SerializeToString(deterministic=True))
    onnx.checker.check_model(path, full_check=True)


def _trace(bundle: Bundle) -> torch.onnx.ONNXProgram:
    """Trace at an arbitrary legal size with symbolic batch, size and number of objects."""
    multiple = bundle.generator.size_multiple
    side = max(2, bundle.generator.minimum_side // multiple) * multiple
    sizes = [2, side, side + multiple]
    inputs: dict[str, Tensor] = {
        "label": torch.zeros(sizes, dtype=torch.uint8),
        "instance": torch.zeros(sizes, dtype=torch.int32),
    }
    batch = torch.export.Dim("batch", min=1)
    plane = {
        0: batch,
        1: multiple * torch.export.Dim("rows", min=2),
        2: multiple * torch.export.Dim("columns", min=2),
    }
    shapes: dict[str, dict[int, torch.export.Dim]] = {"label": plane, "instance": plane}
    if bundle.input.style_channels:
        inputs["style_index"] = torch.zeros(sizes, dtype=torch.int32)
        inputs["style_table"] = torch.zeros(2, 3, bundle.input.style_channels)
        shapes["style_index"] = plane
        shapes["style_table"] = {0: batch, 1: torch.export.Dim("objects", min=1)}
    with _quiet_exporter():
        program = torch.onnx.export(
            Synthesis(bundle.input, load_generator(bundle)).eval(),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=["image"],
            opset_version=OPSET,
            dynamic_shapes=shapes,
            dynamo=True,
            # Optimising would fold batch norms into weights, which then were not the bundle's;
            # engines fold them when they load the graph.
            optimize=False,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return program


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what torch's exporter says about itself: absent torchvision, its own renamings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _drop_metadata(graph: onnx.ModelProto) -> None:
    """Remove the exporter's notes, which hold source paths of the exporting machine."""
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*graph.graph.value_info, *graph.graph.input, *graph.graph.output]:
        del value.metadata_props[:]
    for tensor in graph.graph.initializer:
        del tensor.metadata_props[:]
    del graph.graph.metadata_props[:]
    del graph.metadata_props[:]


def _point_to_weights(graph: onnx.ModelProto, weights: Path) -> None:
    """Replace every initialiser that is a weight by a reference into the safetensors file.

    Half-precision weights are cast back to float32 by a node, which engines fold at load time.
    """
    places = _tensor_places(weights)
    casts = []
    for initializer in graph.graph.initializer:
        name = initializer.name.removeprefix("generator.")
        if name not in places:
            continue
        kind, offset, length = places[name]
        wanted = initializer.name
        tensor = TensorProto(
            name=f"{wanted}.stored", dims=initializer.dims, data_type=kind,
            data_location=TensorProto.EXTERNAL,
        )  # fmt: skip
        for key, value in (("location", weights.name), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        if kind == initializer.data_type:
            tensor.name = wanted
        else:
            casts.append(
                helper.make_node("Cast", [tensor.name], [wanted], to=initializer.data_type)
            )
        initializer.CopyFrom(tensor)
    for position, node in enumerate(casts):
        graph.graph.node.insert(position, node)


def _tensor_places(path: Path) -> dict[str, tuple[int, int, int]]:
    """Where each tensor's bytes lie in a safetensors file: ONNX type, offset, length."""
    kinds = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16}
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    return {
        name: (kinds[entry["dtype"]], 8 + size + entry["data_offsets"][0],
               entry["data_offsets"][1] - entry["data_offsets"][0])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] in kinds
    }  # fmt: skip
