"""ONNX Runtime on a processor or an NVIDIA GPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle, Precision
from model.onnx_graph import Device, OnnxGraph
from service.backends.base import EngineInput


class OnnxEngine:
    """Runs one of a bundle's ONNX graphs: integers in, pixels out."""

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 0,
        precision: Precision = "float32",
        device: Device = "CPU",
    ) -> None:
        """Load the graph.

        Raises BundleError without one, ImportError naming the extra, RuntimeError when the device
        cannot be had.
        """
        self._graph = OnnxGraph(bundle.path(bundle.engine("onnx", precision).file), threads, device)
        self.name = f"onnx {device} {precision}"

    def run(self, batch: EngineInput) -> NDArray[np.uint8]:
        """Synthesise photographs: (N, H, W, 3) uint8 RGB."""
        return self._graph.run(batch.feeds(self._graph.inputs))

    def close(self) -> None:
        """Free the session."""
        del self._graph
