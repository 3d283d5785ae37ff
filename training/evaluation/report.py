"""Scores of synthesised photographs against the real ones, as a model card states them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.classes import read_classes
from model.codec import check_label_map, NO_CLASS
from model.image_io import read_label_map, read_photo
from training.data import Pair, find_pairs
from training.evaluation.frechet import fit_gaussian, frechet_distance, pooled_features
from training.evaluation.lpips import LPIPS
from training.evaluation.segmenter import Segmenter, load_segmenter


@dataclass(frozen=True)
class SegmentationScore:
    """How well a segmenter finds the labels in photographs, each 0..1."""

    pixel_accuracy: float
    mean_iou: float
    """Mean over the classes that occur in the label maps."""


@dataclass(frozen=True)
class SegmentationComparison:
    """The same segmenter on synthesised and on real photographs; only the ratio is comparable."""

    synthesised: SegmentationScore
    real: SegmentationScore
    """The oracle: what this segmenter reaches at best."""
    ratio: SegmentationScore
    """synthesised / real."""


@dataclass(frozen=True)
class Scores:
    """Scores of a set of synthesised photographs, all measured at one size."""

    images: int
    size: int
    """Shorter side in pixels at which everything was compared."""
    lpips_alex: float
    """Mean LPIPS v0.1 (AlexNet) of every photograph to its real one; 0 = identical."""
    frechet_distance_alexnet_relu5: float
    """Frechet distance on pooled AlexNet relu5 features; no FID, and comparable only between
    sets of equally many images."""
    segmentation_raw: SegmentationComparison | None = None
    """Over all pixels; one without a class is an error. None without a segmenter."""
    segmentation_void_excluded: SegmentationComparison | None = None
    """Over the pixels whose label is not void."""

    def save(self, path: Path) -> None:
        """Write the scores as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")
