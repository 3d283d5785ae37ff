"""Counting by class, against torchmetrics and scikit-learn on the same images."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch
from numpy.typing import NDArray
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from model.faithfulness import confusion_matrix
from training.evaluation.confusion import compare, segmentation_score

Ids = NDArray[np.uint8]
COUNT = 5


@pytest.fixture
def images() -> tuple[Ids, Ids]:
    """Label maps and predictions (3, 40, 60) that agree in half of the pixels."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, COUNT, (3, 40, 60), dtype=np.uint8)
    found = rng.integers(0, COUNT, truth.shape, dtype=np.uint8)
    return truth, np.where(rng.random(truth.shape) < 0.5, truth, found)


def test_confusion_is_that_of_scikit_learn(images: tuple[Ids, Ids]) -> None:
    """The same counts, exactly."""
    truth, predicted = images
    expected = sklearn.metrics.confusion_matrix(truth.ravel(), predicted.ravel())
    assert np.array_equal(confusion_matrix(truth, predicted, COUNT)[:COUNT, :COUNT], expected)


@pytest.mark.parametrize("void", [None, (0,)])
def test_scores_are_those_of_other_libraries(
    images: tuple[Ids, Ids], void: tuple[int, ...] | None
) -> None:
    """Pixel accuracy and mean IoU agree with both to 1e-6, with and without a void class."""
    truth, predicted = images
    score = segmentation_score(confusion_matrix(truth, predicted, COUNT), void)
    kept = truth != 0 if void else np.ones(truth.shape, bool)
    first = 1 if void else 0
    y, x = truth[kept], predicted[kept]
    labels = list(range(first, COUNT))
    assert score.pixel_accuracy == pytest.approx(sklearn.metrics.accuracy_score(y, x), abs=1e-12)
    jaccard = sklearn.metrics.jaccard_score(y, x, labels=labels, average="macro")
    assert score.mean_iou == pytest.approx(jaccard, abs=1e-12)
    ignore = 0 if void else None
    pair = torch.from_numpy(predicted).long(), torch.from_numpy(truth).long()
    accuracy = MulticlassAccuracy(COUNT, average="micro", ignore_index=ignore)(*pair)
    assert score.pixel_accuracy == pytest.approx(accuracy.item(), abs=1e-6)
    # torchmetrics also leaves out the void class's own IoU.
    iou = MulticlassJaccardIndex(COUNT, average="macro", ignore_index=ignore)(*pair)
    assert score.mean_iou == pytest.approx(iou.item(), abs=1e-6)


def test_comparison_is_a_ratio(images: tuple[Ids, Ids]) -> None:
    """Both sets are scored alike, then divided."""
    truth, predicted = images
    matrices = np.stack([confusion_matrix(truth, p, COUNT) for p in (predicted, truth)])
    comparison = compare(matrices, None)
    assert comparison.real.mean_iou == 1
    assert comparison.ratio == comparison.synthesised


def test_nothing_found_in_real_photographs_is_refused(images: tuple[Ids, Ids]) -> None:
    """A ratio to nothing would be infinite."""
    truth, _ = images
    matrices = np.stack([confusion_matrix(truth, (truth + 1) % COUNT, COUNT)] * 2)
    with pytest.raises(ValueError, match="train it longer"):
        compare(matrices, None)


def test_confusion_matrix_counts_pixels() -> None:
    """Rows are the true classes and last the pixels of no class; columns the predicted ones."""
    truth = np.array([[0, 0, 1], [2, 2, 255]], np.uint8)
    predicted = np.array([[0, 1, 1], [2, 0, 1]], np.uint8)
    assert confusion_matrix(truth, predicted, 3).tolist() == [
        [1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0],
    ]  # fmt: skip


def test_raw_score_counts_every_pixel() -> None:
    """Pixels of no class are errors; classes that the maps lack are not averaged."""
    confusion = np.array([[6, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [2, 2, 0, 0]])
    score = segmentation_score(confusion, None)
    assert score.pixel_accuracy == pytest.approx(9 / 16)
    # Unions: class 0 has 8 true + 9 found - 6, class 1 has 4 + 7 - 3.
    assert score.mean_iou == pytest.approx((6 / 11 + 3 / 8) / 2)


def test_void_excluded_score_leaves_void_pixels_out() -> None:
    """Neither void pixels nor those of no class count; finding void elsewhere is an error."""
    confusion = np.array([[6, 2, 4, 0], [1, 3, 0, 0], [0, 1, 5, 0], [2, 2, 2, 0]])
    score = segmentation_score(confusion, (0,))
    assert score.pixel_accuracy == pytest.approx(8 / 10)
    # Unions: class 1 has 4 true + 4 found - 3, class 2 has 6 + 5 - 5.
    assert score.mean_iou == pytest.approx((3 / 5 + 5 / 6) / 2)


def test_all_void_is_refused() -> None:
    """Maps without a single counted pixel raise an error instead of giving NaN."""
    confusion = np.array([[5, 1, 0], [0, 0, 0], [0, 0, 0]])
    with pytest.raises(ValueError, match="all pixels of the label maps are void"):
        segmentation_score(confusion, (0,))


def test_predicting_none_of_the_classes_is_an_error() -> None:
    """What a segmenter takes for something else counts against the true class alone."""
    truth, predicted = np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 255, 1, 1]], np.uint8)
    score = segmentation_score(confusion_matrix(truth, predicted, 2), ())
    assert score.pixel_accuracy == pytest.approx(3 / 4)
    assert score.mean_iou == pytest.approx((1 / 2 + 1) / 2)
