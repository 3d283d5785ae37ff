"""ONNX Runtime on a processor or an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Device = Literal["CPU", "CUDA"]


class OnnxGraph:
    """One of a bundle's graphs, loaded. Sizes and batches may change from run to run."""

    def __init__(self, path: Path, threads: int = 0, device: Device = "CPU") -> None:
        """Load the graph; ``threads`` 0 = one per processor core.

        Raises ImportError naming the extra, RuntimeError when the device cannot be had.
        """
        try:
            import onnxruntime
        except ImportError as error:
            extra = {"CPU": "cpu", "CUDA": "gpu"}[device]
            raise ImportError(
                f"ONNX Runtime is not installed: pip install hdsynth[{extra}]"
            ) from error
        provider = f"{device}ExecutionProvider"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads spin between the steps of a run, which wakes them sooner, but not between runs,
        # where they would starve the encoding of photographs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3  # warnings are about nodes that belong on the processor
        if provider not in onnxruntime.get_available_providers():
            raise RuntimeError(
                f"this ONNX Runtime knows no {device}: pip uninstall onnxruntime, then "
                "pip install hdsynth[gpu]"
            )
        self._session = onnxruntime.InferenceSession(path, options, providers=[provider])
        # Where a GPU cannot be used, ONNX Runtime falls back to the processor in silence.
        if self._session.get_providers()[0] != provider:
            raise RuntimeError(f"asked for {provider}, got {self._session.get_providers()[0]}")
        self.inputs = tuple(entry.name for entry in self._session.get_inputs())
        self.types = tuple(entry.type for entry in self._session.get_inputs())
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.shapes = {entry.name: tuple(entry.shape) for entry in self._session.get_inputs()}
        """Sides that may change are text."""
        self._outputs = tuple(entry.name for entry in self._session.get_outputs())

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> NDArray[Any]:
        """Run a batch: input name -> array for each of ``inputs``. Returns the first output."""
        return self.run_all(feeds)[0]

    def run_all(self, feeds: Mapping[str, NDArray[np.generic]]) -> list[NDArray[Any]]:
        """Run a batch as ``run`` does; returns all outputs in the graph's order."""
        binding = self._session.io_binding()
        for name in self.inputs:
            binding.bind_cpu_input(name, np.ascontiguousarray(feeds[name]))
        for name in self._outputs:
            binding.bind_output(name)
        self._session.run_with_iobinding(binding)
        return [np.asarray(made) for made in binding.copy_outputs_to_cpu()]
