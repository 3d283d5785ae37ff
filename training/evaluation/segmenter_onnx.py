"""Writes a trained segmenter as an ONNX file, for judging photographs where torch is absent."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.onnx_segmenter import METADATA_KEY, OnnxSegmenter
from training.evaluation.segmenter import STRIDE, Segmenter, load_segmenter

if TYPE_CHECKING:
    import onnx

OPSET = 20
AGREEMENT = 0.999
"""Share of pixels in which both must find the same class; rounding decides ties differently."""


class _Graph(nn.Module):
    """Photographs as bytes in, class ids as bytes out; sides are multiples of 16."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, photo: Tensor) -> Tensor:
        image = photo.permute(0, 3, 1, 2) / 127.5 - 1
        scores = F.interpolate(self.segmenter(image), scale_factor=2, mode="bilinear")
        return scores.argmax(1).to(torch.uint8)


def export_segmenter(
    source: Path, out: Path, size: int = 256, void: tuple[int, ...] = ()
) -> OnnxSegmenter:
    """Write the segmenter of ``train_segmenter`` as ONNX, and compare it with torch.

    The file's metadata tell the classes, those in ``void`` that faithfulness leaves out, and the
    shorter side ``size`` in pixels at which photographs are judged. Raises ValueError for a void
    class that does not exist, RuntimeError when the graph finds other classes than torch does.
    """
    import onnx

    segmenter = load_segmenter(source)
    wrong = [c for c in void if not 0 <= c < len(segmenter.classes)]
    if wrong:
        raise ValueError(
            f"void class {wrong[0]} does not exist; classes are 0..{len(segmenter.classes) - 1}"
        )
    about = {"classes": segmenter.classes, "void": void, "size": size, "multiple": STRIDE}
    out.parent.mkdir(parents=True, exist_ok=True)
    model = _trace(_Graph(segmenter).eval())
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps(about))
    onnx.save(model, out)
    made = OnnxSegmenter(out)
    _compare(segmenter, made)
    return made


def _trace(graph: nn.Module) -> onnx.ModelProto:
    rows, columns = (torch.export.Dim(name, min=1) for name in ("rows", "columns"))
    shapes = {"photo": {0: torch.export.Dim("batch", min=1), 1: STRIDE * rows, 2: STRIDE * columns}}
    example = torch.zeros(2, 3 * STRIDE, 5 * STRIDE, 3, dtype=torch.uint8)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # What the exporter says about itself: absent torchvision, its own renamings.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph, (), kwargs={"photo": example}, dynamic_shapes=shapes,
                input_names=["photo"], output_names=["classes"], opset_version=OPSET,
                dynamo=True, external_data=False, verbose=False,
            )  # fmt: skip
    finally:
        logger.setLevel(level)
    assert program is not None
    return program.model_proto


def _compare(segmenter: Segmenter, made: OnnxSegmenter) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (1, 70, 90, 3), dtype=np.uint8)
    expected = segmenter.predict(torch.from_numpy(photo).permute(0, 3, 1, 2) / 127.5 - 1).numpy()
    agreement = float((made.segment(photo) == expected).mean())
    if agreement < AGREEMENT:
        raise RuntimeError(
            f"the ONNX graph agrees with torch in {agreement:.1%} of the pixels only; "
            "please report this"
        )
