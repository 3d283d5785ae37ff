"""OpenVINO on a processor, which runs ONNX graphs faster than ONNX Runtime does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.bundle import Precision
from model.codec import legal_size, pad_reflect

_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
_MEMORY = 1 << 30
"""Bytes of compiled weights to keep, roughly: every size that is compiled for has its own."""
_MOST = 8


class OpenVinoGraph:
    """One of a bundle's graphs, compiled anew for every size and batch that it meets.

    Compiling takes about as long as OpenVINO needs for the first run of a new size anyway, and
    what follows is up to a third faster than a graph of free size. Maps are mirrored to a legal
    size before, so that few sizes are left. Not safe to call from several threads at once.
    """

    def __init__(
        self,
        path: Path,
        precision: Precision,
        rule: tuple[int, int],
        threads: int = 0,
    ) -> None:
        """Read the graph; ``rule`` is the multiple and the minimum of legal sides.

        ``threads`` 0 = one per processor core. Raises ImportError naming the extra.
        """
        try:
            import openvino
        except ImportError as error:
            raise ImportError("OpenVINO is not installed: pip install hdsynth[openvino]") from error
        self._core = openvino.Core()
        self._graph = self._core.read_model(path)
        self.inputs = tuple(entry.any_name for entry in self._graph.inputs)
        self._rule = rule
        self._settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            # Threads tied to cores wait for whatever else runs there, such as PNG encoding.
            "ENABLE_CPU_PINNING": False,
        }
        if threads:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        constants = [n for n in self._graph.get_ops() if n.get_type_name() == "Constant"]
        weights = sum(constant.get_byte_size() for constant in constants)
        self._limit = max(1, min(_MOST, _MEMORY // max(1, weights)))
        self._compiled: OrderedDict[tuple[tuple[int, ...], ...], Any] = OrderedDict()

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> NDArray[Any]:
        """Run a batch: input name -> array for every one of ``inputs``."""
        height, width = feeds[self.inputs[0]].shape[1:3]
        legal = legal_size(height, width, *self._rule)
        padded = {
            name: feeds[name] if name == "style_table" else _pad(feeds[name], *legal)
            for name in self.inputs
        }
        made = self._request(padded).infer(padded, share_inputs=True, share_outputs=True)[0]
        return _crop(made, height, width)

    def _request(self, feeds: Mapping[str, NDArray[np.generic]]) -> Any:
        """The graph compiled for these sizes; the number of styles stays free."""
        shapes = tuple(feeds[name].shape for name in self.inputs if name != "style_table")
        if shapes in self._compiled:
            self._compiled.move_to_end(shapes)
            return self._compiled[shapes]
        if len(self._compiled) == self._limit:
            self._compiled.popitem(last=False)
        graph = self._graph.clone()
        graph.reshape({
            name: [array.shape[0], -1, array.shape[2]] if name == "style_table" else array.shape
            for name, array in feeds.items()
        })  # fmt: skip
        compiled = self._core.compile_model(graph, "CPU", self._settings)
        self._compiled[shapes] = compiled.create_infer_request()
        return self._compiled[shapes]


def _pad(planes: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Mirror (N, H, W) or (N, H, W, C) to a size; the graph then finds nothing to pad."""
    if planes.shape[1:3] == (height, width):
        return np.ascontiguousarray(planes)
    return np.stack([pad_reflect(plane, height, width) for plane in planes])


def _crop(made: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """A copy of the wanted part of pixels (N, H, W, 3) or features (N, C, H, W)."""
    part = made[:, :height, :width] if made.dtype == np.uint8 else made[..., :height, :width]
    return np.array(part)
