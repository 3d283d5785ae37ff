"""OpenVINO on a processor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle, Precision
from model.openvino_graph import OpenVinoGraph
from service.backends.base import EngineInput


class OpenVinoEngine:
    """Runs one of a bundle's ONNX graphs: integers in, pixels out.

    The first batch of a size compiles for it, about a second for the bundled model.
    """

    def __init__(self, bundle: Bundle, threads: int = 0, precision: Precision = "float32") -> None:
        """Read the graph.

        Raises BundleError when the bundle has none that was verified on OpenVINO, ImportError
        naming the extra.
        """
        rule = bundle.generator
        self._graph = OpenVinoGraph(
            bundle.path(bundle.engine("openvino", precision).file),
            precision,
            (rule.size_multiple, rule.minimum_side),
            threads,
        )
        self.name = f"openvino CPU {precision}"

    def run(self, batch: EngineInput) -> NDArray[np.uint8]:
        """Synthesise photographs: (N, H, W, 3) uint8 RGB."""
        return self._graph.run(batch.feeds(self._graph.inputs))

    def close(self) -> None:
        """Free the compiled graphs."""
        del self._graph
