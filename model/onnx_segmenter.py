"""A segmenter in an ONNX file: which class does every pixel of a photograph look like?

Files of ``hdsynth export-segmenter`` describe themselves in their metadata. Others are read by
convention: ``(N, 3, H, W)`` float32 in ImageNet's normalisation, or ``(N, H, W, 3)`` uint8, in;
scores ``(N, C, h, w)``, or class ids ``(N, H, W)``, out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.faithfulness import faithfulness
from model.onnx_graph import OnnxGraph

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
METADATA_KEY = "hdsynth.segmenter"
"""Metadata entry with a JSON object: classes, void, size and multiple."""


class OnnxSegmenter:
    """Runs a segmenter with ONNX Runtime. Safe to call from several threads."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        """Load the graph; ``threads`` 0 = one per processor core.

        Raises FileNotFoundError, ValueError for a file that is no segmenter, ImportError naming
        the extra.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; 'hdsynth export-segmenter' makes one")
        self._graph = _open(path, threads)
        about = _description(path, self._graph.metadata.get(METADATA_KEY, "{}"))
        self.classes: tuple[str, ...] = tuple(about.get("classes", ()))
        """Class names by id; empty for files that do not tell them."""
        self.void: tuple[int, ...] = tuple(about.get("void", ()))
        """Classes that ``faithfulness`` leaves out."""
        self.size: int = about.get("size", 0)
        """Shorter side in pixels that it was trained at; 0 = any."""
        self._multiple: int = about.get("multiple", 1)

    def segment(self, photos: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class ids (N, H, W) of photographs (N, H, W, 3) RGB of any size."""
        height, width = photos.shape[1:3]
        margin = ((0, 0), (0, -height % self._multiple), (0, -width % self._multiple), (0, 0))
        found = self._graph.run(
            {self._graph.inputs[0]: self._input(np.pad(photos, margin, "edge"))}
        )
        if found.ndim == 4:
            size = margin[2][1] + width, margin[1][1] + height
            found = np.stack([_largest(scores, size) for scores in found])
        return found[:, :height, :width].astype(np.uint8)

    def faithfulness(self, label: NDArray[np.uint8], photo: NDArray[np.uint8]) -> float | None:
        """Score a photograph (H, W, 3) of a label map (H, W): see ``model.faithfulness``.

        Both are brought down to the size that the segmenter was trained at.
        """
        height, width = label.shape
        factor = min(1.0, self.size / min(height, width)) if self.size else 1.0
        if factor < 1:
            target = max(1, round(width * factor)), max(1, round(height * factor))
            photo = np.asarray(Image.fromarray(photo).resize(target, Image.Resampling.LANCZOS))
            label = np.asarray(Image.fromarray(label).resize(target, Image.Resampling.NEAREST))
        predicted = self.segment(photo[None])[0]
        return faithfulness(label, predicted, len(self.classes), self.void)

    def _input(self, photos: NDArray[np.uint8]) -> NDArray[Any]:
        if self._graph.types[0] == "tensor(uint8)":
            return photos
        mean, deviation = (np.array(v, np.float32) for v in (IMAGENET_MEAN, IMAGENET_DEVIATION))
        scaled = np.divide(photos, 255, dtype=np.float32)
        normalised: NDArray[Any] = (scaled - mean) / deviation
        return normalised.transpose(0, 3, 1, 2)


def _open(path: Path, threads: int) -> OnnxGraph:
    try:
        graph = OnnxGraph(path, threads)
    except ImportError:
        raise
    except Exception as error:  # ONNX Runtime's own types, one per kind of damage
        raise ValueError(f"{path}: no ONNX file that can be run: {error}") from error
    if len(graph.inputs) != 1 or graph.types[0] not in {"tensor(uint8)", "tensor(float)"}:
        raise ValueError(
            f"{path}: a segmenter has one input, photographs as uint8 or float; this graph has "
            f"{', '.join(f'{n}: {t}' for n, t in zip(graph.inputs, graph.types, strict=True))}"
        )
    return graph


def _description(path: Path, text: str) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path}: its metadata entry {METADATA_KEY} is no JSON") from error
    return about


def _largest(scores: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Class ids (H, W) of scores (C, h, w), enlarged to (width, height) between the scores."""
    if scores.shape[1:] != size[::-1]:
        planes = (Image.fromarray(plane.astype(np.float32)) for plane in scores)
        enlarged = (plane.resize(size, Image.Resampling.BILINEAR) for plane in planes)
        scores = np.stack([np.asarray(plane) for plane in enlarged])
    ids: NDArray[np.uint8] = scores.argmax(0).astype(np.uint8)
    return ids
