"""torch compiled by Inductor: float16 on Triton kernels with CUDA graphs, float32 on the CPU.

The first batch of a shape compiles for it, which takes tens of seconds to minutes; warm up the
sizes that will be asked for. Inductor keeps what it made in TORCHINDUCTOR_CACHE_DIR.
"""

from __future__ import annotations

import os
import shutil

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from service.backends.base import EngineInput


class CompiledTorchEngine:
    """Runs a bundle's weights, on CUDA where there is a GPU and else on the CPU."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        """Load the weights.

        Raises BundleError, ImportError naming the extra without torch or, on a GPU, triton, and
        RuntimeError without a compiler.
        """
        try:
            import torch
        except ImportError as error:
            raise ImportError("torch is not installed: pip install 'hdsynth[torch]'") from error

        from model.checkpoint import load_generator
        from model.kernels.compiled import CompiledSynthesis

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        _require_compiler(device.type)
        if threads:
            torch.set_num_threads(threads)
        self._torch = torch
        self._network = CompiledSynthesis(bundle.input, load_generator(bundle), device)
        self.name = "torch-compiled " + ("CUDA float16" if device.type == "cuda" else "CPU float32")

    def run(self, batch: EngineInput) -> NDArray[np.uint8]:
        """Synthesise photographs: (N, H, W, 3) uint8 RGB."""
        maps = batch.maps()
        pixels = self._network({name: self._torch.from_numpy(maps[name]) for name in maps})
        return np.asarray(pixels.numpy(), np.uint8)

    def close(self) -> None:
        """Free the device."""
        del self._network


def _require_compiler(device: str) -> None:
    """Raise RuntimeError where the compiler that Inductor (CPU) or Triton (CUDA) runs is absent."""
    variable, names = ("CC", ("gcc", "clang")) if device == "cuda" else ("CXX", ("g++",))
    chosen = os.environ.get(variable)
    if not any(map(shutil.which, [chosen] if chosen else names)):
        raise RuntimeError(
            f"the torch-compiled backend needs a compiler: {chosen or ' or '.join(names)} was not "
            f"found; install one (Debian, Ubuntu: apt-get install g++) or set {variable}"
        )
