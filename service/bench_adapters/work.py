"""What every adapter does around the framework that it shows: read, run, write.

Adapters run in the environments of their frameworks, which need numpy, Pillow, onnxruntime and
simplejpeg, the codecs and the runtime that hdsynth uses. They do less than hdsynth: no checks of
the maps, no choice of styles, no metrics. Settings come from the environment.
"""

from __future__ import annotations

import io
import os
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PORT = int(os.environ.get("BENCH_PORT", "0"))
MAX_BATCH = int(os.environ.get("BENCH_MAX_BATCH", "8"))
MODEL = os.environ.get("BENCH_MODEL", "")
"""An ONNX file; empty = sleep as FAKE says."""
THREADS = int(os.environ.get("BENCH_THREADS", "0"))
FAKE = os.environ.get("BENCH_FAKE", "0,0")
"""Milliseconds of a batch, and of every image in it."""
QUALITY = 90


def decode(label: bytes, instance: bytes) -> NDArray[np.int32]:
    """Read two PNG files: (2, H, W) int32."""
    planes = [np.asarray(Image.open(io.BytesIO(data))) for data in (label, instance)]
    return np.stack(planes).astype(np.int32)


def encode(photo: NDArray[np.uint8]) -> bytes:
    """Write a photograph (H, W, 3) uint8 as JPEG."""
    import simplejpeg

    whole = np.ascontiguousarray(photo)
    return bytes(simplejpeg.encode_jpeg(whole, quality=QUALITY, colorsubsampling="420"))


class Model:
    """The model, or an engine of known speed in its place."""

    def __init__(self) -> None:
        self._session: Any = None
        if not MODEL:
            return
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            MODEL, options, providers=["CPUExecutionProvider"]
        )

    def run(self, maps: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Turn maps (N, 2, H, W) into photographs (N, H, W, 3) uint8."""
        if self._session is None:
            return _fake(maps)
        label, instance = maps[:, 0].astype(np.uint8), np.ascontiguousarray(maps[:, 1])
        known = {node.name: node.shape for node in self._session.get_inputs()}
        feeds: dict[str, Any] = {"label": label, "instance": instance}
        if "style_table" in known:
            feeds["style_index"] = np.zeros_like(instance)
            feeds["style_table"] = np.zeros((len(maps), 1, known["style_table"][2]), np.float32)
        return np.asarray(self._session.run(["image"], feeds)[0], np.uint8)


def _fake(maps: NDArray[np.int32]) -> NDArray[np.uint8]:
    base, each = map(float, FAKE.split(","))
    end = time.perf_counter() + (base + each * len(maps)) / 1000
    photos = np.zeros((len(maps), *maps.shape[2:], 3), np.uint8)
    photos[..., 0], photos[..., 1] = maps[:, 0], maps[:, 1]
    time.sleep(max(0.0, end - time.perf_counter()))
    return photos
