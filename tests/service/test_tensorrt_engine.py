"""The TensorRT backend: errors without a GPU, memory reuse, and on a GPU the photographs."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from export.parity import Feeds, check_parity, measure_parity, random_scenes
from export.to_tensorrt import ensure_engine
from model.bundle import load_bundle
from model.engine_files import find
from model.engine_key import EngineRejectedError, Rejection, batch_profiles
from model.gpu import NoGpuError, compute_capability
from service.backends.base import EngineInput
from service.backends.cuda_memory import Gpu, PinnedPool
from service.backends.tensorrt_engine import TensorRTEngine


def without_gpu() -> bool:
    """Say whether this machine lacks a GPU, by CUDA's own account."""
    try:
        compute_capability()
    except NoGpuError:
        return True
    return False


no_gpu_here = pytest.mark.skipif(not without_gpu(), reason="this machine has a GPU")


@no_gpu_here
def test_missing_gpu_is_the_error(tiny_bundle: Path, tmp_path: Path) -> None:
    """On a machine without a GPU the backend says so, before it looks for an engine."""
    with pytest.raises(NoGpuError, match=r"no CUDA device: cudaError.*NVIDIA driver"):
        TensorRTEngine(load_bundle(tiny_bundle), "tensorrt_rtx", tmp_path)
    with pytest.raises(NoGpuError):
        Gpu()


def test_missing_module_names_the_extra(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for TensorRT without having it learns what to install."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ImportError, match=r"hdsynth\[tensorrt\]"):
        TensorRTEngine(load_bundle(tiny_bundle), "tensorrt", tmp_path)


def test_backend_never_imports_torch() -> None:
    """Importing the backend brings neither torch nor TensorRT nor CUDA into the process."""
    code = (
        "import sys, service.backends.tensorrt_engine\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'torch', 'tensorrt', 'tensorrt_rtx', 'cuda', 'onnx'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Heap:
    """Ordinary memory with the interface of CUDA's page-locked one."""

    def __init__(self) -> None:
        self.blocks: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.allocations = 0

    def allocate(self, size: int) -> int:
        """Return the address of new memory."""
        block = ctypes.create_string_buffer(size)
        self.blocks[ctypes.addressof(block)] = block
        self.allocations += 1
        return ctypes.addressof(block)

    def free(self, address: int) -> None:
        """Give memory back; it must be in use."""
        del self.blocks[address]


def test_memory_is_reused_when_nobody_sees_it() -> None:
    """A photograph's memory is not overwritten while any view of it lives, and reused after."""
    heap = Heap()
    pool = PinnedPool(heap.allocate, heap.free)
    first = pool.array((2, 4, 3), np.uint8)
    first[:] = 7
    view = first[1:, :2]
    address = first.ctypes.data
    del first
    gc.collect()
    second = pool.array((2, 4, 3), np.uint8)
    second[:] = 9
    assert (view == 7).all()
    assert second.ctypes.data != address
    del view
    gc.collect()
    third = pool.array((2, 4, 3), np.uint8)
    assert third.ctypes.data == address
    assert heap.allocations == 2


def test_pool_knows_its_own_arrays() -> None:
    """Only whole, contiguous arrays of the pool may be copied without staging."""
    heap = Heap()
    pool = PinnedPool(heap.allocate, heap.free)
    array = pool.array((4, 8), np.int32)
    assert pool.owns(array)
    assert pool.owns(array[:2])
    assert not pool.owns(array[:, :4])
    assert not pool.owns(np.zeros((4, 8), np.int32))


def test_closing_the_pool_frees_everything() -> None:
    """Idle memory goes at once, the rest when its last view goes."""
    heap = Heap()
    pool = PinnedPool(heap.allocate, heap.free)
    idle, used = pool.array((8,), np.uint8), pool.array((16,), np.float32)
    del idle
    gc.collect()
    pool.close()
    assert list(heap.blocks) == [used.ctypes.data]
    del used
    gc.collect()
    assert heap.blocks == {}


@pytest.mark.gpu
@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt_rtx"])
@pytest.mark.parametrize("name", ["tiny_bundle", "plain_bundle"])
def test_photographs_equal_torch(
    flavour: str, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Built, found, captured and run on this GPU: torch's pixels to one grey level."""
    pytest.importorskip(flavour)
    bundle = load_bundle(request.getfixturevalue(name))
    profiles = batch_profiles([(64, 48), (128, 64)], [1, 3])
    ensure_engine(bundle, profiles, flavour=flavour, cache=tmp_path)
    engine = TensorRTEngine(bundle, flavour, tmp_path, profiles)

    def run(feeds: Feeds) -> NDArray[np.uint8]:
        return engine.run(EngineInput(**feeds))  # type: ignore[arg-type]

    for batch in (2, 3):
        check_parity(measure_parity(bundle, run, ((64, 48), (128, 64)), batch), flavour)
    feeds = random_scenes(bundle, 1, 48, 64, seed=1)
    first = run(feeds)
    kept = first.copy()
    other = run(random_scenes(bundle, 1, 48, 64, seed=2))
    assert np.array_equal(first, kept)  # a later run does not overwrite an earlier photograph
    assert not np.array_equal(other, kept)
    assert np.array_equal(run(feeds), kept)
    with pytest.raises(EngineRejectedError) as caught:
        run(random_scenes(bundle, 4, 48, 64, seed=1))
    assert caught.value.reason is Rejection.MISSING_PROFILE
    engine.close()


@pytest.mark.gpu
def test_engine_of_another_gpu_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    """An engine for an architecture that this GPU is not never gets as far as TensorRT."""
    bundle, profiles = load_bundle(tiny_bundle), batch_profiles([(64, 48)], [1])
    here = compute_capability()
    foreign = "8.6" if here != "8.6" else "8.9"
    stored = ensure_engine(
        bundle, profiles, flavour="tensorrt_rtx", cache=tmp_path, capability=foreign
    )
    with pytest.raises(EngineRejectedError) as caught:
        TensorRTEngine(bundle, "tensorrt_rtx", tmp_path, profiles)
    assert caught.value.reason is Rejection.FOREIGN_GPU
    with pytest.raises(EngineRejectedError):
        find(tmp_path, dataclasses.replace(stored.key, compute_capability=here))
