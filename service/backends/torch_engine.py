"""torch eager in float32 on the CPU: the reference that other engines are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from service.backends.base import EngineInput


class TorchEngine:
    """Runs a bundle's weights through the networks of ``model``."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        """Load the weights; raises BundleError, ImportError naming the extra."""
        try:
            import torch
        except ImportError as error:
            raise ImportError("torch is not installed: pip install hdsynth[export]") from error

        from model.checkpoint import load_generator
        from model.synthesis import Synthesis

        if threads:
            torch.set_num_threads(threads)
        self._torch = torch
        self._network = Synthesis(bundle.input, load_generator(bundle)).eval()
        self.name = "torch CPU float32"

    def run(self, batch: EngineInput) -> NDArray[np.uint8]:
        """Synthesise photographs: (N, H, W, 3) uint8 RGB."""
        arrays = (batch.label, batch.instance, batch.style_index, batch.style_table)
        tensors = [None if array is None else self._torch.from_numpy(array) for array in arrays]
        with self._torch.inference_mode():
            return np.asarray(self._network(*tensors).numpy(), np.uint8)

    def close(self) -> None:
        """Free the network."""
        del self._network
