"""The Triton model repository: Triton's own schema reads it, ONNX Runtime runs its models."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from export.parity import random_scenes
from export.triton_repository import (
    TritonRepositoryError,
    write_onnx_repository,
    write_tensorrt_repository,
)
from model.bundle import BundleError, load_bundle
from model.engine_files import StoredEngine, store
from model.engine_key import EngineKey, batch_profiles


def config(version: Path) -> triton.ModelConfig:
    """Parse a model's configuration with Triton's schema, which refuses unknown fields."""
    text = (version.parent / "config.pbtxt").read_text()
    return text_format.Parse(text, triton.ModelConfig())


def shapes(tensors: object) -> dict[str, tuple[str, list[int]]]:
    """Name -> type and dimensions."""
    return {
        t.name: (triton.DataType.Name(t.data_type), list(t.dims))
        for t in tensors  # type: ignore[attr-defined]
    }


def test_configuration_describes_the_graph(tiny_bundle: Path, tmp_path: Path) -> None:
    """Inputs, outputs, batching and instances are what Triton needs to serve the graph."""
    bundle = load_bundle(tiny_bundle)
    version = write_onnx_repository(bundle, tmp_path, "cpu", [1, 4, 8], [(64, 32)])
    parsed = config(version)
    assert (parsed.name, parsed.backend, parsed.max_batch_size) == ("tiny", "onnxruntime", 8)
    assert shapes(parsed.input) == {
        "label": ("TYPE_UINT8", [-1, -1]),
        "instance": ("TYPE_INT32", [-1, -1]),
        "style_index": ("TYPE_INT32", [-1, -1]),
        "style_table": ("TYPE_FP32", [-1, 3]),
    }
    assert shapes(parsed.output) == {"image": ("TYPE_UINT8", [-1, -1, 3])}
    assert list(parsed.dynamic_batching.preferred_batch_size) == [4, 8]
    assert parsed.dynamic_batching.max_queue_delay_microseconds > 0
    (instances,) = parsed.instance_group
    assert (instances.kind, instances.count) == (triton.ModelInstanceGroup.KIND_CPU, 1)
    assert parsed.parameters["version_1"].string_value == bundle.version
    assert parsed.parameters["precision"].string_value == "float32"


def test_warm_up_runs_before_ready(tiny_bundle: Path, tmp_path: Path) -> None:
    """Every size is warmed up alone and in the largest batch, with all inputs."""
    version = write_onnx_repository(
        load_bundle(tiny_bundle), tmp_path, "gpu", [1, 4], [(64, 32), (96, 64)]
    )
    parsed = config(version)
    assert parsed.instance_group[0].kind == triton.ModelInstanceGroup.KIND_GPU
    assert [(w.name, w.batch_size) for w in parsed.model_warmup] == [
        ("64x32 batch 1", 1), ("64x32 batch 4", 4), ("96x64 batch 1", 1), ("96x64 batch 4", 4),
    ]  # fmt: skip
    last = parsed.model_warmup[-1].inputs
    assert list(last["label"].dims) == [64, 96]
    assert list(last["style_table"].dims) == [256, 3]
    assert all(entry.zero_data for entry in last.values())


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
@pytest.mark.parametrize("name", ["tiny_bundle", "plain_bundle"])
def test_the_copied_model_runs_by_itself(
    name: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """From the repository alone ONNX Runtime makes the bundle's photographs, weights included."""
    bundle = load_bundle(request.getfixturevalue(name))
    version = write_onnx_repository(bundle, tmp_path, kind)  # type: ignore[arg-type]
    precision = {"cpu": "float32", "gpu": "float16"}[kind]
    (entry,) = [e for e in bundle.engines if (e.backend, e.precision) == ("onnx", precision)]
    feeds = random_scenes(bundle, 2, 32, 64, seed=3)
    copied, original = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
            ["image"], feeds
        )[0]
        for path in (version / "model.onnx", bundle.path(entry.file))
    )
    assert copied.shape == (2, 32, 64, 3)
    assert np.array_equal(copied, original)


def test_versions_are_numbered_and_labelled(tiny_bundle: Path, tmp_path: Path) -> None:
    """The same bundle keeps its number; another version gets the next one."""
    bundle = load_bundle(tiny_bundle)
    first = write_onnx_repository(bundle, tmp_path, "cpu")
    again = write_onnx_repository(bundle, tmp_path, "cpu")
    changed = dataclasses.replace(bundle, version="0123456789ab")
    second = write_onnx_repository(changed, tmp_path, "cpu")
    assert (first, again, second) == (tmp_path / "tiny/1", first, tmp_path / "tiny/2")
    labels = {
        key: value.string_value
        for key, value in config(second).parameters.items()
        if key.startswith("version_")
    }
    assert labels == {"version_1": bundle.version, "version_2": "0123456789ab"}
    assert config(second).version_policy.latest.num_versions == 1
    assert {p.name for p in (tmp_path / "tiny").iterdir()} == {"1", "2", "config.pbtxt"}


def test_bundle_without_the_graph_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    """Nothing is written when the bundle has no graph of the precision."""
    bundle = dataclasses.replace(load_bundle(tiny_bundle), engines=())
    for kind in ("cpu", "gpu"):
        with pytest.raises(BundleError, match="hdsynth export"):
            write_onnx_repository(bundle, tmp_path, kind)
    assert list(tmp_path.iterdir()) == []


def compiled(cache: Path, capability: str, flavour: str = "tensorrt") -> StoredEngine:
    """An engine file in a cache; what is in it matters only to Triton."""
    profiles = batch_profiles([(64, 32)], [1, 4])
    key = EngineKey("tiny", "a" * 64, flavour, "10.14.1", capability, "float16", profiles)
    return store(cache, key, f"engine for {capability}".encode())


def test_engines_of_several_gpus_make_one_model(tiny_bundle: Path, tmp_path: Path) -> None:
    """Triton finds the file for its GPU, uses all profiles and knows the TensorRT version."""
    engines = [compiled(tmp_path / "cache", c) for c in ("8.9", "9.0")]
    version = write_tensorrt_repository(load_bundle(tiny_bundle), tmp_path / "repo", engines)
    parsed = config(version)
    assert (parsed.backend, parsed.max_batch_size) == ("tensorrt", 4)
    files = {c: (version / f).read_bytes() for c, f in parsed.cc_model_filenames.items()}
    assert files == {"8.9": b"engine for 8.9", "9.0": b"engine for 9.0"}
    assert list(parsed.instance_group[0].profile) == ["0", "1"]
    assert parsed.parameters["tensorrt_version"].string_value == "10.14.1"
    assert "onnx" not in {p.suffix for p in version.iterdir()}


def test_engines_that_triton_cannot_run_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    """TensorRT-RTX engines, engines that do not belong together, and none at all."""
    bundle, cache = load_bundle(tiny_bundle), tmp_path / "cache"
    rtx = compiled(cache, "8.9", "tensorrt_rtx")
    with pytest.raises(TritonRepositoryError, match="not of tensorrt_rtx"):
        write_tensorrt_repository(bundle, tmp_path / "repo", [rtx])
    one = compiled(cache, "8.9")
    other = dataclasses.replace(one, key=dataclasses.replace(one.key, version="10.9"))
    with pytest.raises(TritonRepositoryError, match="differ in their version"):
        write_tensorrt_repository(bundle, tmp_path / "repo", [one, other])
    with pytest.raises(TritonRepositoryError, match="no engine"):
        write_tensorrt_repository(bundle, tmp_path / "repo", [])
    assert not (tmp_path / "repo").exists()
