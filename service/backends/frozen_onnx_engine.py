"""ONNX Runtime on a graph whose instance norms can keep the statistics of an earlier photograph."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.onnx_graph import OnnxGraph
from service.backends.base import EngineInput

BACKEND = "onnx-frozen"
MAX_SCENES = 256
"""Scenes whose statistics are kept, 0.2 MB each for the published models; then the one that was
used least recently is forgotten."""


class FrozenOnnxEngine:
    """Freezes normalisation statistics within a scene.

    The first run of a scene key records the statistics of its photograph, all others of that key
    use them. Scenes without a key are synthesised as ``onnx`` does.
    """

    name = "onnx CPU float32, frozen statistics"

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        """Load the graph.

        Raises BundleError without one, which 'hdsynth export --frozen-statistics' makes, and
        ImportError naming the extra.
        """
        self._graph = OnnxGraph(bundle.path(bundle.engine(BACKEND).file), threads)
        self._channels = int(self._graph.shapes["statistics"][1])
        self._kept: OrderedDict[int, NDArray[np.float32]] = OrderedDict()

    def run(self, batch: EngineInput) -> NDArray[np.uint8]:
        """Synthesise photographs: (N, H, W, 3) uint8 RGB."""
        count = len(batch.label)
        keys = [0] * count if batch.scene_key is None else batch.scene_key.tolist()
        statistics = np.zeros((count, self._channels, 2), np.float32)
        frozen = np.array([key in self._kept for key in keys])
        for row in np.flatnonzero(frozen):
            statistics[row] = self._kept[keys[row]]
        names = [name for name in self._graph.inputs if name not in {"statistics", "frozen"}]
        feeds = {**batch.feeds(names), "statistics": statistics, "frozen": frozen}
        photos, used = self._graph.run_all(feeds)
        self._keep(keys, used)
        return photos

    def close(self) -> None:
        """Free the session."""
        del self._graph

    def _keep(self, keys: list[int], used: NDArray[np.float32]) -> None:
        for key, statistics in zip(keys, used, strict=True):
            if key:
                self._kept.setdefault(key, statistics.copy())
                self._kept.move_to_end(key)
        while len(self._kept) > MAX_SCENES:
            self._kept.popitem(last=False)
