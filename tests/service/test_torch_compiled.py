"""The compiled torch backend: compiled for real on the CPU, and on a GPU where there is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export.parity import Feeds, check_parity, measure_parity, random_scenes
from model.bundle import load_bundle
from model.checkpoint import load_generator
from model.kernels.compiled import CompiledSynthesis
from service.backends.base import EngineInput
from service.backends.torch_compiled import CompiledTorchEngine
from service.backends.torch_engine import TorchEngine

# torch's own modules warn when the compiler imports them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


@needs_compiler
def test_compiled_engine_equals_torch(tiny_bundle: Path) -> None:
    """At a size that needs padding, alone and in a batch, the pixels are torch's to one level."""
    bundle = load_bundle(tiny_bundle)
    engine = CompiledTorchEngine(bundle, threads=1)
    assert engine.name.startswith("torch-compiled ")

    def run(feeds: Feeds) -> NDArray[np.uint8]:
        return engine.run(EngineInput(**feeds))  # type: ignore[arg-type]

    check_parity(measure_parity(bundle, run, ((40, 22),)), engine.name)
    feeds = random_scenes(bundle, 1, 22, 40, seed=3)
    assert run(feeds).shape == (1, 22, 40, 3)
    wanted = TorchEngine(bundle).run(EngineInput(**feeds))  # type: ignore[arg-type]
    assert (np.abs(run(feeds).astype(int) - wanted) <= 1).mean() >= 0.999
    engine.close()


@needs_compiler
def test_only_the_shapes_used_last_are_kept(plain_bundle: Path) -> None:
    """A further shape takes the place of the one unused for longest."""
    bundle = load_bundle(plain_bundle)
    network = CompiledSynthesis(
        bundle.input, load_generator(bundle), torch.device("cpu"), kept_shapes=1
    )
    for width in (8, 12):
        feeds = random_scenes(bundle, 1, 8, width, seed=width)
        pixels = network({name: torch.from_numpy(array) for name, array in feeds.items()})
        assert pixels.shape == (1, 8, width, 3)
        assert network.shapes == 1


def test_a_missing_compiler_is_named(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the compiler that Inductor runs, loading says which one to install."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(RuntimeError, match="no-such-compiler was not found; install one"):
        CompiledTorchEngine(load_bundle(tiny_bundle))


@pytest.mark.gpu
def test_gpu_engine_stays_close_to_torch(tiny_bundle: Path) -> None:
    """On a GPU, in half precision with kernels and graphs, at two sizes and batches."""
    bundle = load_bundle(tiny_bundle)
    engine = CompiledTorchEngine(bundle)
    assert engine.name == "torch-compiled CUDA float16"

    def run(feeds: Feeds) -> NDArray[np.uint8]:
        return engine.run(EngineInput(**feeds))  # type: ignore[arg-type]

    check_parity(measure_parity(bundle, run, ((64, 48), (100, 30))), engine.name, "float16")
