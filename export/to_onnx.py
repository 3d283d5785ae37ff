"""Export a bundle's networks to ONNX: maps in as integers, photographs out as bytes.

Batch, height and width are dynamic, from one pixel on. The graphs hold no weights: their
initialisers point into the bundle's safetensors files, so that weights exist once and cannot
disagree.
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
import onnx_ir as ir
import torch
from onnx import TensorProto, helper
from onnxscript import optimizer
from torch import Tensor, nn

from export.processor_forms import Runtime, use_processor_forms
from model.bundle import ENCODER_WEIGHTS, GENERATOR_WEIGHTS, Bundle, Precision
from model.checkpoint import load_encoder, load_generator
from model.synthesis import Encoding, Synthesis

OPSET = 20
Inputs = dict[str, tuple[Tensor, dict[int, torch.export.Dim]]]
"""Input name -> an example, and which of its dimensions are dynamic."""


def export_generator(
    bundle: Bundle, path: Path, precision: Precision = "float32", openvino: Path | None = None
) -> None:
    """Write the ONNX graph of the bundle's generator to ``path``, in the bundle's folder.

    ``float32`` is arranged for processors, for OpenVINO too if ``openvino`` says where to;
    ``float16`` is left as it is, for GPUs. Raises BundleError when the weights do not fit,
    onnx.checker.ValidationError for a graph that is not valid ONNX.
    """
    generator = load_generator(bundle)
    if precision == "float16":
        generator = generator.half()
    network = Synthesis(bundle.input, generator).eval()
    graph = _trace(network, _generator_inputs(bundle), "image")
    forms: dict[Runtime, Path] = {"onnx": path}
    if openvino is not None:
        forms["openvino"] = openvino
    for runtime, place in forms.items():
        arranged = graph.clone()
        if precision == "float32":
            use_processor_forms(arranged, runtime)
        _write(arranged, bundle.path(GENERATOR_WEIGHTS), "generator.", place)


def export_encoder(bundle: Bundle, path: Path) -> None:
    """Write the float32 ONNX graph of the bundle's style encoder, as ``export_generator``."""
    size = {n: torch.export.Dim(name, min=1) for n, name in enumerate(("batch", "height", "width"))}
    photo = (torch.zeros(2, 37, 53, 3, dtype=torch.uint8), size)
    graph = _trace(Encoding(load_encoder(bundle)).eval(), {"photo": photo}, "features")
    use_processor_forms(graph, "onnx")
    _write(graph, bundle.path(ENCODER_WEIGHTS), "encoder.", path)


def _generator_inputs(bundle: Bundle) -> Inputs:
    """What this bundle's generator takes, with sizes that no rule would give by chance."""
    spec, rule = bundle.input, bundle.generator
    # The exporter treats a network whose innermost features are 1x1 as a case of its own. Its
    # graph is no other; where padding has a minimum, sizes from 1 on must be traced for that.
    smallest = 1 if rule.minimum_side > rule.size_multiple else rule.size_multiple + 1
    plane = {
        0: torch.export.Dim("batch", min=1),
        1: torch.export.Dim("height", min=smallest),
        2: torch.export.Dim("width", min=smallest),
    }
    sizes = (2, smallest + 36, smallest + 52)
    label = sizes if spec.label_count else (*sizes, spec.image_channels)
    inputs: Inputs = {"label": (torch.zeros(label, dtype=torch.uint8), plane)}
    if spec.edges:
        inputs["instance"] = (torch.zeros(sizes, dtype=torch.int32), plane)
    if spec.style_channels:
        inputs["style_index"] = (torch.zeros(sizes, dtype=torch.int32), plane)
        rows = {0: plane[0], 1: torch.export.Dim("objects", min=1)}
        inputs["style_table"] = (torch.zeros(2, 3, spec.style_channels), rows)
    return inputs


def _trace(network: nn.Module, inputs: Inputs, output: str) -> ir.Model:
    """Trace a network with symbolic dimensions."""
    with _quiet_exporter():
        traced = torch.export.export(
            network,
            (),
            kwargs={name: example for name, (example, _) in inputs.items()},
            dynamic_shapes={name: shape for name, (_, shape) in inputs.items()},
            # It cannot prove that a padded image is no smaller than the image.
            prefer_deferred_runtime_asserts_over_guards=True,
        )
        program = torch.onnx.export(
            traced,
            input_names=list(inputs),
            output_names=[output],
            opset_version=OPSET,
            dynamo=True,
            # All of its rules would fold norms into weights, which then were not the bundle's;
            # engines fold them when they load the graph.
            optimize=False,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    return program.model


def _write(model: ir.Model, weights: Path, prefix: str, path: Path) -> None:
    graph = ir.to_proto(model)
    _drop_metadata(graph)
    _point_to_weights(graph, weights, prefix)
    path.write_bytes(graph.SerializeToString(deterministic=True))
    onnx.checker.check_model(path, full_check=True)


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


def _point_to_weights(graph: onnx.ModelProto, weights: Path, prefix: str) -> None:
    """Replace every initialiser that is a weight by a reference into the safetensors file.

    Weights of another precision than the graph's are cast by a node, which engines fold at load
    time.
    """
    places = _tensor_places(weights)
    casts = []
    for initializer in graph.graph.initializer:
        name = initializer.name.removeprefix(prefix)
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
