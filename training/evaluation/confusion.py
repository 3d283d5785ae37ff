"""Pixel accuracy and mean IoU: of synthesised photographs, of the real ones, and their ratio.

Both sets are judged by the same segmenter, so that only the ratio can be compared between
segmenters (method: the paper's section 4.1 scores both with one network and calls the real
photographs the oracle).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.faithfulness import class_counts


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
class ClassScore:
    """How well a segmenter finds one class."""

    name: str
    share: float
    """Of the pixels of all label maps, 0..1."""
    iou_synthesised: float | None
    """Intersection over union, 0..1, as in the void-excluded score; None for void classes and
    those that do not occur."""
    iou_real: float | None


def segmentation_score(
    confusion: NDArray[np.int64], void: tuple[int, ...] | None
) -> SegmentationScore:
    """Score a confusion matrix (C + 1, C + 1) of ``model.faithfulness.confusion_matrix``.

    With ``void`` None every pixel counts, and one of no class as an error; otherwise pixels of no
    class and of the classes in ``void`` are left out. Classes that the label maps lack take no
    part in the mean, so it is over the same ones for any photographs of the same maps. Raises
    ValueError when no pixel is left.
    """
    counts = class_counts(confusion, void)
    if not counts.present.any():
        raise ValueError(f"all pixels of the label maps are void (classes {void})")
    return SegmentationScore(
        pixel_accuracy=float(counts.correct.sum() / counts.pixels),
        mean_iou=float(np.nanmean(counts.iou)),
    )


def compare(confusion: NDArray[np.int64], void: tuple[int, ...] | None) -> SegmentationComparison:
    """Compare two confusion matrices (2, C + 1, C + 1): synthesised, then real.

    Raises ValueError when the segmenter finds nothing in the real photographs.
    """
    synthesised, real = (segmentation_score(matrix, void) for matrix in confusion)
    if not real.mean_iou:
        raise ValueError("the segmenter finds no class in the real photographs; train it longer")
    return SegmentationComparison(
        synthesised,
        real,
        SegmentationScore(
            synthesised.pixel_accuracy / real.pixel_accuracy, synthesised.mean_iou / real.mean_iou
        ),
    )


def class_scores(
    confusion: NDArray[np.int64], names: tuple[str, ...], void: tuple[int, ...]
) -> tuple[ClassScore, ...]:
    """Score every class from two confusion matrices (2, C + 1, C + 1): synthesised, then real."""
    ious = np.full((2, len(names)), np.nan)
    for row, matrix in zip(ious, confusion, strict=True):
        counts = class_counts(matrix, void)
        row[counts.classes] = counts.iou
    shares = confusion[0].sum(1)[: len(names)] / confusion[0].sum()
    return tuple(
        ClassScore(name, float(share), *(None if np.isnan(iou) else float(iou) for iou in both))
        for name, share, both in zip(names, shares, ious.T, strict=True)
    )
