"""TensorRT or TensorRT-RTX on an NVIDIA GPU, without torch.

Integers go up and pixels come down through page-locked memory on one stream. For every batch
and size that the engine was built for, one CUDA graph is captured before the first request, so
that a request costs a few copies and one launch. Nothing is built here: an engine that does not
fit this GPU and TensorRT is refused with the reason.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from model.bundle import Bundle
from model.engine_files import StoredEngine, default_cache, find, write_atomically
from model.engine_key import EngineRejectedError, Profile, Rejection, choose_profile, engine_key
from model.gpu import compute_capability
from model.tensorrt_module import load_tensorrt, tensorrt_logger
from service.backends.base import EngineInput
from service.backends.cuda_memory import Gpu

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Program:
    """The engine at one batch and size, with all addresses set."""

    context: Any
    graph: Any | None
    """Its captured CUDA graph; None where TensorRT says that it cannot be captured."""


class TensorRTEngine:
    """Runs the compiled engine of a bundle's half-precision graph; integers in, pixels out.

    Not safe to call from several threads at once.
    """

    def __init__(
        self,
        bundle: Bundle,
        flavour: str = "tensorrt",
        cache: Path | None = None,
        profiles: Sequence[Profile] = (),
        device: int = 0,
    ) -> None:
        """Load the engine from ``cache`` (None = the default folder) and capture its graphs.

        ``profiles`` are the sizes and batches that it must have; nothing = any. Raises
        NoGpuError, ImportError naming the extra, BundleError without a half-precision graph,
        EngineRejectedError with the reason and CudaError, such as when memory runs out.
        """
        trt = self._trt = load_tensorrt(flavour)
        capability = compute_capability(device)
        wanted = engine_key(bundle, flavour, trt.__version__, capability, profiles)
        self.stored = find(cache or default_cache(), wanted)
        self.profiles = self.stored.key.profiles
        """What the engine runs: sizes in pixels and batches."""
        self.name = f"{flavour} {trt.__version__} SM {capability} {self.stored.key.precision}"
        if self.stored.parity is None:
            log.warning(
                "%s has never been compared with torch; run the command that built it again here",
                self.stored.path,
            )
        self._gpu = Gpu(device)
        try:
            self._load()
            self._programs = {
                (position, batch): self._prepare(position, batch)
                for position, profile in enumerate(self.profiles)
                for batch in range(profile.smallest_batch, profile.batch + 1)
            }
        except Exception:
            # Whoever falls back to another engine needs the memory.
            self._gpu.close()
            raise
        self._save_kernels()

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Page-locked memory: a batch put together in such arrays is not copied once more."""
        return self._gpu.pinned.array(shape, dtype)

    def run(self, batch: EngineInput) -> NDArray[np.uint8]:
        """Synthesise photographs: (N, H, W, 3) uint8 RGB.

        Raises EngineRejectedError for a batch or size that the engine was not built for.
        """
        count, height, width = batch.label.shape[:3]
        position = choose_profile(self.profiles, count, width, height)
        program = self._programs[position, count]
        self._gpu.select()
        # The arrays must live until the copies are done.
        arrays = [self._upload(name, getattr(batch, name)) for name in self._inputs]
        if program.graph is None:
            self._enqueue(program.context)
        else:
            self._gpu.launch(program.graph)
        image = self._gpu.pinned.array((count, height, width, 3), np.uint8)
        self._gpu.download(image, self._addresses["image"])
        self._gpu.synchronize()
        del arrays
        return image

    def close(self) -> None:
        """Free the GPU."""
        self._gpu.close()
        # TensorRT wants contexts to go before their engine, and the engine before its runtime.
        self._programs.clear()
        del self._config, self._engine, self._runtime, self._logger

    def _load(self) -> None:
        trt = self._trt
        self._logger = tensorrt_logger(trt)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(self.stored.path.read_bytes())
        if self._engine is None:
            raise EngineRejectedError(
                Rejection.CORRUPT, f"{self.stored.path}: TensorRT refuses it; its log says why"
            )
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self._inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self._types = {n: np.dtype(trt.nptype(engine.get_tensor_dtype(n))) for n in self._inputs}
        self._config = self._runtime_config()
        pixels = max(p.batch * p.height * p.width for p in self.profiles)
        self._addresses = {n: self._gpu.allocate(self._largest(n)) for n in self._inputs}
        self._addresses["image"] = self._gpu.allocate(3 * pixels)
        # Only one program runs at a time, so all of them share their scratch memory.
        self._scratch_size = engine.device_memory_size_v2
        self._scratch = self._gpu.allocate(self._scratch_size)

    def _runtime_config(self) -> Any | None:
        """How TensorRT-RTX compiles kernels on this GPU; None for TensorRT, which has done so."""
        if self._trt.__name__ != "tensorrt_rtx":
            return None
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(
            self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        # Otherwise general kernels would be captured while the special ones are being compiled.
        config.dynamic_shapes_kernel_specialization_strategy = (
            self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        kernels = config.create_runtime_cache()
        path = _kernels_path(self.stored)
        if path.is_file() and not kernels.deserialize(path.read_bytes()):
            log.info("%s is of another driver or GPU and will be replaced", path)
        config.set_runtime_cache(kernels)
        return config

    def _save_kernels(self) -> None:
        """Keep the kernels that TensorRT-RTX compiled, so that the next start is quick."""
        if self._config is None:
            return
        path = _kernels_path(self.stored)
        try:
            write_atomically(path, memoryview(self._config.get_runtime_cache().serialize()))
        except OSError as error:
            log.warning("%s cannot be written (%s); the next start compiles again", path, error)

    def _prepare(self, position: int, batch: int) -> _Program:
        """Fix shapes and addresses, run once and capture."""
        context = self._engine.create_execution_context(
            self._config or self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        stream = int(self._gpu.stream)
        what = str(self.profiles[position])
        _require(context.set_optimization_profile_async(position, stream), what, "profile")
        context.set_device_memory(self._scratch, self._scratch_size)
        for name in self._inputs:
            shape = (batch, *self._limits(name, position)[1:])
            _require(context.set_input_shape(name, shape), what, f"shape {shape} of {name}")
        for name, address in self._addresses.items():
            _require(context.set_tensor_address(name, address), what, f"address of {name}")
        # The first run finishes what setting shapes and profile began, which is not capturable.
        self._enqueue(context)
        self._gpu.synchronize()
        if hasattr(context, "is_stream_capturable") and not context.is_stream_capturable(stream):
            log.warning("%s: this engine cannot be captured as a CUDA graph", what)
            return _Program(context, None)
        return _Program(context, self._gpu.capture(lambda: self._enqueue(context)))

    def _enqueue(self, context: Any) -> None:
        _require(context.execute_async_v3(int(self._gpu.stream)), self.name, "execution")

    def _upload(self, name: str, array: NDArray[Any] | None) -> NDArray[Any]:
        """Queue one input; returns the page-locked array that is being copied."""
        if array is None:
            raise ValueError(f"this engine needs {name}, which is missing")
        pinned = self._gpu.pinned
        if array.dtype != self._types[name] or not pinned.owns(array):
            staged = pinned.array(array.shape, self._types[name])
            np.copyto(staged, array, casting="same_kind")
            array = staged
        row_bytes = None
        if name == "style_table":
            # Graphs are captured with the largest table; rows beyond a scene's own are not read.
            rows, channels = self._limits(name, 0)[1:]
            if array.shape[1] > rows:
                raise ValueError(
                    f"a scene has {array.shape[1]} objects; the engine takes at most {rows}"
                )
            row_bytes = rows * channels * array.itemsize
        self._gpu.upload(self._addresses[name], array, row_bytes)
        return array

    def _limits(self, name: str, position: int) -> tuple[int, ...]:
        """Largest shape of an input in a profile."""
        return tuple(self._engine.get_tensor_profile_shape(name, position)[2])

    def _largest(self, name: str) -> int:
        """Bytes of an input in the profile where it is largest."""
        shapes = [self._limits(name, position) for position in range(len(self.profiles))]
        return max(math.prod(shape) for shape in shapes) * int(self._types[name].itemsize)


def _kernels_path(stored: StoredEngine) -> Path:
    return stored.path.with_suffix(".kernels")


def _require(done: bool, what: str, step: str) -> None:
    """Raise RuntimeError where TensorRT reports failure by returning False."""
    if not done:
        raise RuntimeError(f"{what}: TensorRT refused the {step}; its log says why")
