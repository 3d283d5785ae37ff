"""Write a model repository for the Triton Inference Server.

    REPOSITORY/MODEL/config.pbtxt
    REPOSITORY/MODEL/1/model.onnx + generator.safetensors     or model_sm89.plan, ...
    REPOSITORY/MODEL/1/bundle_version                         which bundle version 1 is

Exporting another version of a bundle adds a version folder; the same one replaces its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx

from model.bundle import GENERATOR_WEIGHTS, Bundle
from model.engine_files import StoredEngine
from model.engine_key import file_name

Kind = Literal["cpu", "gpu"]

LABEL_FILE = "bundle_version"
QUEUE_DELAY_US = 1000
"""How long Triton lets the first request of a batch wait for company, in microseconds."""
WARM_UP_ROWS = 256
"""Rows of the style table while warming up, and the number that clients should pad theirs to."""


class TritonRepositoryError(ValueError):
    """A repository cannot be written; the message names the fix."""


@dataclass(frozen=True)
class _Tensor:
    """An input or output as Triton describes it, without the batch axis."""

    name: str
    type: str
    dims: tuple[int, ...]
    """-1 = any."""


def write_onnx_repository(
    bundle: Bundle,
    folder: Path,
    kind: Kind = "gpu",
    batches: Sequence[int] = (1, 2, 4, 8),
    sizes: Iterable[tuple[int, int]] = (),
) -> Path:
    """Add the bundle's ONNX graph to the repository ``folder``; returns the version's folder.

    float16 for ``gpu``, float32 for ``cpu``. ``sizes`` (width, height) are warmed up before
    Triton reports the model ready. Raises BundleError when the bundle lacks the graph.
    """
    graph = bundle.engine("onnx", "float16" if kind == "gpu" else "float32")

    def fill(version: Path) -> None:
        shutil.copyfile(bundle.path(graph.file), version / "model.onnx")
        # The graph refers to its weights by this name.
        shutil.copyfile(bundle.path(GENERATOR_WEIGHTS), version / GENERATOR_WEIGHTS)

    inputs, outputs = _tensors(bundle.path(graph.file))
    lines = [
        'backend: "onnxruntime"',
        *_description(inputs, outputs, batches),
        f"instance_group [ {{ kind: KIND_{kind.upper()} count: 1 }} ]",
        *_warm_up(inputs, sizes, max(batches)),
    ]
    return _write(bundle, folder, fill, lines, {"precision": graph.precision})


def write_tensorrt_repository(
    bundle: Bundle, folder: Path, engines: Sequence[StoredEngine]
) -> Path:
    """Add compiled engines, one per kind of GPU, to the repository; returns the version's folder.

    Triton picks the engine for its GPU, and must have the TensorRT version that built them.
    Raises TritonRepositoryError for engines that Triton cannot run or that differ in more than
    the GPU, BundleError when the bundle lacks the graph that they were built from.
    """
    first = _require_alike(engines)
    plans = {
        e.key.compute_capability: f"model_sm{e.key.compute_capability.replace('.', '')}.plan"
        for e in engines
    }

    def fill(version: Path) -> None:
        for engine in engines:
            shutil.copyfile(engine.path, version / plans[engine.key.compute_capability])

    graph = bundle.engine("onnx", "float16")
    profiles = first.key.profiles
    inputs, outputs = _tensors(bundle.path(graph.file))
    numbers = ", ".join(f'"{i}"' for i in range(len(profiles)))
    lines = [
        'backend: "tensorrt"',
        *(
            f"cc_model_filenames {{ key: {_quoted(capability)} value: {_quoted(plan)} }}"
            for capability, plan in plans.items()
        ),
        *_description(inputs, outputs, sorted({p.batch for p in profiles})),
        f"instance_group [ {{ kind: KIND_GPU count: 1 profile: [ {numbers} ] }} ]",
        *(
            line for size in dict.fromkeys((p.width, p.height) for p in profiles)
            for line in _warm_up(inputs, [size], max(p.batch for p in profiles))
        ),
    ]  # fmt: skip
    facts = {"precision": graph.precision, "tensorrt_version": first.key.version}
    return _write(bundle, folder, fill, lines, facts)


def _require_alike(engines: Sequence[StoredEngine]) -> StoredEngine:
    if not engines:
        raise TritonRepositoryError("no engine to write; build some with --tensorrt")
    first = engines[0]
    for engine in engines:
        if engine.key.flavour != "tensorrt":
            raise TritonRepositoryError(
                f"{engine.path}: Triton runs engines of tensorrt, not of {engine.key.flavour}; "
                "build it with --tensorrt, or leave that out to write the ONNX graph"
            )
        for field in ("graph", "version", "profiles"):
            if getattr(engine.key, field) != getattr(first.key, field):
                raise TritonRepositoryError(
                    f"{engine.path} and {first.path} differ in their {field}; "
                    "one Triton model needs one for all GPUs"
                )
    return first


def _tensors(graph: Path) -> tuple[list[_Tensor], list[_Tensor]]:
    """Inputs and outputs of an ONNX file."""
    model = onnx.load(graph, load_external_data=False).graph

    def describe(value: onnx.ValueInfoProto) -> _Tensor:
        tensor = value.type.tensor_type
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        triton = {"FLOAT": "FP32", "FLOAT16": "FP16"}.get(kind, kind)
        dims = tuple(dim.dim_value or -1 for dim in tensor.shape.dim)
        return _Tensor(value.name, f"TYPE_{triton}", dims[1:])

    return [describe(v) for v in model.input], [describe(v) for v in model.output]


def _description(
    inputs: Sequence[_Tensor], outputs: Sequence[_Tensor], batches: Sequence[int]
) -> Iterator[str]:
    yield f"max_batch_size: {max(batches)}"
    for direction, tensors in (("input", inputs), ("output", outputs)):
        for t in tensors:
            dims = ", ".join(map(str, t.dims))
            tensor = f"name: {_quoted(t.name)} data_type: {t.type} dims: [ {dims} ]"
            yield f"{direction} [ {{ {tensor} }} ]"
    preferred = ", ".join(str(batch) for batch in sorted(set(batches)) if batch > 1)
    yield "dynamic_batching {"
    if preferred:
        yield f"  preferred_batch_size: [ {preferred} ]"
    yield f"  max_queue_delay_microseconds: {QUEUE_DELAY_US}"
    yield "}"
    if any(t.name == "style_table" for t in inputs):
        yield "# Triton batches only requests of equal shapes, so clients should pad style_table"
        yield f"# to a common number of rows, such as {WARM_UP_ROWS}; unused rows are not read."


def _warm_up(
    inputs: Sequence[_Tensor], sizes: Iterable[tuple[int, int]], batch: int
) -> Iterator[str]:
    """Requests of zeros that Triton runs before it reports the model ready."""
    for width, height in sizes:
        for count in sorted({1, batch}):
            yield "model_warmup [ {"
            yield f'  name: "{width}x{height} batch {count}" batch_size: {count}'
            for t in inputs:
                free = (WARM_UP_ROWS,) if t.name == "style_table" else (height, width)
                shape = ", ".join(map(str, (*free, *t.dims[len(free) :])))
                yield (
                    f"  inputs {{ key: {_quoted(t.name)} value "
                    f"{{ data_type: {t.type} dims: [ {shape} ] zero_data: true }} }}"
                )
            yield "} ]"


def _write(
    bundle: Bundle,
    folder: Path,
    fill: Callable[[Path], None],
    lines: Iterable[str],
    facts: dict[str, str],
) -> Path:
    """Write a version folder and then, in one step, the configuration that names it."""
    model = folder / file_name(bundle.name)
    labels = _version_labels(model)
    number = next((n for n, label in labels.items() if label == bundle.version), None)
    version = model / str(number or max(labels, default=0) + 1)
    temporary = model / f".{version.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        fill(temporary)
        (temporary / LABEL_FILE).write_text(bundle.version + "\n", encoding="utf-8")
        if version.exists():
            shutil.rmtree(version)
        temporary.rename(version)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    facts |= {f"version_{n}": label for n, label in _version_labels(model).items()}
    text = "\n".join(
        [
            f"# {bundle.name}: label maps in, photographs out. Written by hdsynth export.",
            f"name: {_quoted(model.name)}",
            *lines,
            "version_policy { latest { num_versions: 1 } }",
            *(
                f"parameters {{ key: {_quoted(k)} value {{ string_value: {_quoted(v)} }} }}"
                for k, v in facts.items()
            ),
            "",
        ]
    )
    draft = model / ".config.pbtxt"
    draft.write_text(text, encoding="utf-8")
    draft.replace(model / "config.pbtxt")
    return version


def _version_labels(model: Path) -> dict[int, str]:
    """Version number -> version of the bundle in it."""
    return {
        int(file.parent.name): file.read_text(encoding="utf-8").strip()
        for file in sorted(model.glob(f"[0-9]*/{LABEL_FILE}"))
    }


def _quoted(text: str) -> str:
    return json.dumps(text)
