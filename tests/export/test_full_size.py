"""Export of generators of published size: 182 million random weights, verified, run and built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorrt_rtx

from export.build import add_engines
from export.parity import random_scenes
from export.random_bundle import write_random_bundle
from export.to_tensorrt import build_engine
from model.bundle import Bundle, Precision
from model.engine_key import batch_profiles
from model.onnx_graph import OnnxGraph

SIZES = ((256, 128), (320, 192))


@pytest.fixture(scope="module", params=["global-1024x512", "local-2048x1024"])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bundle]:
    """A bundle with random weights and its verified float32 and float16 graphs."""
    folder = tmp_path_factory.mktemp(request.param) / "bundle"
    write_random_bundle(folder, request.param)
    yield add_engines(folder, ("float32", "float16"), SIZES)
    for file in folder.iterdir():  # a gigabyte that nobody looks at later
        file.unlink()


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_graphs_are_valid_and_verified(exported: Bundle, precision: Precision) -> None:
    """The checker accepts them; each has its parity record, in the bundle's description too."""
    engine = exported.engine("onnx", precision)
    onnx.checker.check_model(exported.path(engine.file), full_check=False)
    assert engine.parity.scenes >= len(SIZES)
    assert engine.parity.maximum <= (1 if precision == "float32" else 16)
    assert engine.parity.mean < 1


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_graphs_run_at_two_sizes_and_batches(exported: Bundle, precision: Precision) -> None:
    """ONNX Runtime makes photographs of one scene and of four, and batching changes nothing."""
    graph = OnnxGraph(exported.path(exported.engine("onnx", precision).file))
    for width, height in SIZES:
        four = random_scenes(exported, 4, height, width, seed=3)
        images = graph.run(four)
        assert images.shape == (4, height, width, 3)
        (first,) = graph.run({name: values[:1] for name, values in four.items()})
        assert np.abs(first.astype(int) - images[0]).max() <= 1


@pytest.mark.parametrize("architecture", ["8.6", "8.9", "12.0"])
def test_tensorrt_builds_them_without_a_gpu(architecture: str, exported: Bundle) -> None:
    """TensorRT-RTX compiles the float16 graph for other machines' GPUs, weights and all."""
    size = exported.trained_size
    assert size is not None
    graph: Path = exported.path(exported.engine("onnx", "float16").file)
    engine = build_engine(tensorrt_rtx, graph, batch_profiles([size], [1, 4]), architecture)
    assert len(engine) > 2 * 182_000_000
