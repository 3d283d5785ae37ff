"""ONNX Runtime on the CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from service.backends.base import EngineInput

PROVIDER = "CPUExecutionProvider"


class OnnxEngine:
    """Runs a bundle's ``generator.onnx``: integers in, pixels out."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        """Load the graph; raises BundleError without one, RuntimeError on another provider."""
        import onnxruntime

        entry = bundle.engine("onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Idle worker threads would otherwise spin between requests and starve PNG encoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            bundle.path(entry.file), options, providers=[PROVIDER]
        )
        # ONNX Runtime falls back to another provider in silence.
        if self._session.get_providers() != [PROVIDER]:
            raise RuntimeError(f"asked for {PROVIDER}, got {self._session.get_providers()}")
        self.name = f"onnx CPU {entry.precision}"

    def run(self, batch: EngineInput) -> NDArray[np.uint8]:
        """Synthesise photographs: (N, H, W, 3) uint8 RGB."""
        feeds = {"label": batch.label, "instance": batch.instance}
        if batch.style_index is not None and batch.style_table is not None:
            feeds |= {"style_index": batch.style_index, "style_table": batch.style_table}
        (image,) = self._session.run(["image"], feeds)
        return np.asarray(image, np.uint8)

    def close(self) -> None:
        """Free the session."""
        del self._session
