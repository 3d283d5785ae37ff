"""How faithfully a photograph shows the layout that was asked for, from what a segmenter sees.

The one place that counts pixels by true and predicted class: evaluation and serving share it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.codec import NO_CLASS


@dataclass(frozen=True)
class ClassCounts:
    """Pixels of the K classes that count."""

    classes: NDArray[np.intp]
    """(K,) class ids."""
    correct: NDArray[np.int64]
    """(K,) pixels of the class that are predicted as the class."""
    present: NDArray[np.int64]
    """(K,) pixels of the class; 0 for classes that the maps lack."""
    union: NDArray[np.int64]
    """(K,) pixels that are of the class or predicted as it."""
    pixels: int
    """All pixels that count."""

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of every class (K,), 0..1; NaN for those the maps lack."""
        return np.where(self.present, self.correct / np.maximum(self.union, 1), np.nan)


def confusion_matrix(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], count: int
) -> NDArray[np.int64]:
    """Count pixels by (true, predicted) class of two equal arrays: (count + 1, count + 1) int64.

    The last row holds the pixels whose true value is ``NO_CLASS``, the last column those in which
    none of the classes was predicted.
    """
    true, found = (np.where(ids == NO_CLASS, count, ids).astype(np.int64)
                   for ids in (truth, predicted))  # fmt: skip
    cells = np.bincount((true * (count + 1) + found).ravel(), minlength=(count + 1) ** 2)
    return cells.reshape(count + 1, count + 1)


def class_counts(confusion: NDArray[np.int64], void: tuple[int, ...] | None) -> ClassCounts:
    """Sum up a confusion matrix (C + 1, C + 1) of ``confusion_matrix``.

    With ``void`` None every pixel counts, and one of no class as an error; otherwise pixels of no
    class and of the classes in ``void`` are left out.
    """
    count = len(confusion) - 1
    kept = np.ones(count + 1, bool)
    if void is not None:
        kept[[*void, count]] = False
    counted, classes = confusion[kept], np.flatnonzero(kept[:count])
    correct = np.diagonal(confusion)[classes]
    present = confusion.sum(1)[classes]
    union = present + counted.sum(0)[classes] - correct
    return ClassCounts(classes, correct, present, union, int(counted.sum()))


def faithfulness(
    label: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    count: int,
    void: tuple[int, ...] = (),
) -> float | None:
    """Score one photograph, 0..1: 1 = every pixel is recognised as what its label asks for.

    The frequency-weighted intersection over union (Long, Shelhamer and Darrell 2015, section 5)
    of the label map (H, W) and the predicted classes (H, W); pixels of no class and of ``void``
    classes are left out. Unlike pixel accuracy it also falls with what appears where it was not
    asked for, and unlike the mean IoU a few pixels of a rare class cannot decide it. None when no
    pixel is left.
    """
    counts = class_counts(confusion_matrix(label, predicted, count), void)
    if not counts.present.any():
        return None
    present = counts.present > 0
    return float(np.average(counts.iou[present], weights=counts.present[present]))
