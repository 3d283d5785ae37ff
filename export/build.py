"""Add verified engines to a bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from export.parity import Feeds, check_parity, measure_parity
from export.to_onnx import OPSET, export_graph
from model.bundle import Bundle, EngineFile, describe, load_bundle

ONNX_FILE = "generator.onnx"
PARITY_SIZES = ((256, 256), (384, 200), (512, 512))


def add_onnx_engine(folder: Path, sizes: tuple[tuple[int, int], ...] = PARITY_SIZES) -> Bundle:
    """Export the generator of the bundle in ``folder`` to ONNX, verify it, and record it.

    Raises BundleError, and ParityError (leaving the bundle as it was) when the pixels differ.
    """
    bundle = load_bundle(folder)
    # The graph refers to the weights by file name, so it is verified in its final folder.
    temporary = folder / f".{ONNX_FILE}"
    try:
        export_graph(bundle, temporary)
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])

        def run(feeds: Feeds) -> NDArray[np.uint8]:
            return np.asarray(session.run(["image"], feeds)[0], np.uint8)

        parity = measure_parity(bundle, run, sizes)
        check_parity(parity, ONNX_FILE)
        temporary.replace(folder / ONNX_FILE)
    finally:
        temporary.unlink(missing_ok=True)
    entry = EngineFile(ONNX_FILE, "onnx", "float32", OPSET, parity)
    others = tuple(e for e in bundle.engines if e.file != ONNX_FILE)
    return describe(dataclasses.replace(bundle, engines=(*others, entry)), folder)
