"""Scores of synthesised photographs against the real ones, as a model card states them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from model.classes import Classes, read_classes, read_ignored
from model.faithfulness import confusion_matrix, faithfulness
from training.data import Pair, find_pairs
from training.evaluation.boundaries import BoundaryScore, boundary_score
from training.evaluation.confusion import (
    ClassScore,
    SegmentationComparison,
    class_scores,
    compare,
)
from training.evaluation.frechet import fit_gaussian, frechet_distance, pooled_features
from training.evaluation.inception import InceptionDistances, InceptionScores
from training.evaluation.judges import Judge, open_judge
from training.evaluation.lpips import LPIPS
from training.evaluation.page import Page
from training.evaluation.pictures import (
    as_tensor,
    check_complete,
    load_instances,
    load_label,
    load_pictures,
)
from training.layout import CLASSES_FILE


@dataclass(frozen=True)
class ImageScore:
    """Scores of one photograph."""

    name: str
    lpips_alex: float
    faithfulness: float | None = None
    """Frequency-weighted IoU of the segmenter, 0..1: see ``model.faithfulness``."""
    faithfulness_real: float | None = None
    """The same on the real photograph."""
    boundaries: BoundaryScore | None = None
    boundaries_real: BoundaryScore | None = None
    diversity: float | None = None
    """Mean LPIPS between the styles of the scene."""


@dataclass(frozen=True)
class BoundaryComparison:
    """Mean boundary scores of synthesised and real photographs."""

    synthesised: BoundaryScore
    real: BoundaryScore


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
    void: tuple[int, ...]
    """Classes that ``segmentation_void_excluded`` and faithfulness leave out: those asked for and
    those that the segmenter does not know."""
    segmentation_raw: SegmentationComparison | None
    """Over all pixels; one without a class counts as an error. None without a segmenter."""
    segmentation_void_excluded: SegmentationComparison | None
    """Over the pixels that have a class which is not void. None without a segmenter."""
    segmenter: str | None = None
    inception: InceptionScores | None = None
    """None without Inception's weights."""
    diversity_lpips_alex: float | None = None
    """Mean LPIPS between photographs of one scene in different styles; None without others."""
    boundaries: BoundaryComparison | None = None
    """None for data without instance maps."""
    classes: tuple[ClassScore, ...] = ()
    per_image: tuple[ImageScore, ...] = field(default=(), repr=False)
    """Least faithful first; without a segmenter, the farthest from its real photograph first."""

    def save(self, path: Path) -> None:
        """Write the scores as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")


def score_folder(
    photos: Path,
    real: Path,
    weights: Path,
    segmenter: str | Path | None,
    size: int,
    void: tuple[int, ...] = (),
    device: str = "cpu",
    *,
    other_styles: tuple[Path, ...] = (),
    inception: Path | None = None,
    page: Path | None = None,
) -> Scores:
    """Score synthesised ``photos``/NAME.png against the data folder ``real``.

    ``real`` has label/, image/, for the boundary score instance/ and, for the segmenter,
    classes.json. Everything is compared at the shorter side ``size`` in pixels (photographs
    resized by Lanczos, maps by nearest). ``weights`` is the folder with the files of AlexNet and
    LPIPS. ``segmenter`` is what ``judges.open_judge`` takes, ``inception`` what
    ``InceptionDistances`` takes; folders of ``other_styles`` hold the same scenes once more, for
    the diversity. ``page`` is written as a self-contained HTML report with pictures.
    Files in ``photos`` beyond the names in ``real`` are not looked at.
    Raises FileNotFoundError for a missing photograph, ValueError for one that is smaller than
    ``size`` or has other proportions, and for a segmenter of other classes.
    """
    pairs = find_pairs(real)
    for folder in (photos, *other_styles):
        check_complete(folder, pairs)
    run = _Run(real, LPIPS(weights).to(device), device)
    if segmenter is not None:
        run.use_judge(segmenter, void)
    distances = InceptionDistances(inception, device) if inception else None
    report = Page(run.classes) if page else None
    images = []
    for pair in tqdm(pairs, desc="scoring", unit="img", dynamic_ncols=True):
        files = [folder / f"{pair.name}.png" for folder in (photos, *other_styles)]
        pictures = load_pictures(files, pair.image, size)
        images.append(run.add(pair, pictures))
        if distances:
            distances.add(pictures[[0, -1]])
        if report:
            report.add(pair.name, run.label, pictures[[0, -1]], run.predicted)
    scores = run.scores(images, size, str(segmenter) if segmenter else None)
    if distances:
        scores = dataclasses.replace(scores, inception=distances.compute())
    if report and page:
        report.write(page, scores, photos.name)
    return scores


class _Run:
    """What accumulates from scene to scene."""

    def __init__(self, real: Path, metric: LPIPS, device: str) -> None:
        self.real, self.metric, self.device = real, metric, device
        self.judge: Judge | None = None
        self.void: tuple[int, ...] = ()
        self.classes: Classes | None = None
        self.ignore: tuple[int, ...] = ()
        self.confusion = np.zeros((2, 0, 0), np.int64)
        """Synthesised, real."""
        self.features: list[NDArray[np.float64]] = []
        self.label: NDArray[np.uint8] | None = None
        """Of the scene added last, like the predictions (2, H, W)."""
        self.predicted: NDArray[np.uint8] | None = None
        if (real / CLASSES_FILE).is_file():
            self.classes = read_classes(real / CLASSES_FILE)
            self.ignore = read_ignored(real / CLASSES_FILE, len(self.classes))

    def use_judge(self, segmenter: str | Path, void: tuple[int, ...]) -> None:
        """Judge with a segmenter. Raises what ``open_judge`` and ``read_classes`` raise."""
        classes = self.classes or read_classes(self.real / CLASSES_FILE)
        wrong = [c for c in void if not 0 <= c < len(classes)]
        if wrong:
            raise ValueError(
                f"void class {wrong[0]} does not exist; classes are 0..{len(classes) - 1}"
            )
        self.judge = open_judge(segmenter, classes.names, self.device)
        self.void = tuple(sorted({*void, *self.judge.unknown}))
        self.confusion = np.zeros((2, len(classes) + 1, len(classes) + 1), np.int64)

    def add(self, pair: Pair, pictures: NDArray[np.uint8]) -> ImageScore:
        """Score a scene: photographs in several styles and last the real one, (N, H, W, 3)."""
        with torch.inference_mode():
            taps = self.metric.network(as_tensor(pictures).to(self.device))
            to_real = self._distance(taps, 0, -1)
            between = [self._distance(taps, *two)
                       for two in combinations(range(len(pictures) - 1), 2)]  # fmt: skip
        self.features.append(pooled_features(taps[-1][[0, -1]]))
        shape = pictures.shape[1:3]
        both = pictures[[0, -1]]
        if self.classes:
            self.label = load_label(pair.label, len(self.classes), self.ignore, shape)
        ours, real = self._faithfulness(both)
        borders, real_borders = _boundaries(both, pair.instance)
        diversity = float(np.mean(between)) if between else None
        return ImageScore(pair.name, to_real, ours, real, borders, real_borders, diversity)

    def scores(self, images: list[ImageScore], size: int, segmenter: str | None) -> Scores:
        """Sum up."""
        synthesised, original = (fit_gaussian(x) for x in np.stack(self.features, axis=1))
        judge, void = self.judge, self.void
        diversity = [image.diversity for image in images if image.diversity is not None]
        return Scores(
            images=len(images),
            size=size,
            lpips_alex=float(np.mean([image.lpips_alex for image in images])),
            frechet_distance_alexnet_relu5=frechet_distance(synthesised, original),
            void=void,
            segmentation_raw=compare(self.confusion, None) if judge else None,
            segmentation_void_excluded=compare(self.confusion, void) if judge else None,
            segmenter=segmenter,
            diversity_lpips_alex=float(np.mean(diversity)) if diversity else None,
            boundaries=_mean_boundaries(images),
            classes=class_scores(self.confusion, judge.names, void) if judge else (),
            per_image=tuple(sorted(images, key=_quality)),
        )

    def _distance(self, taps: list[Tensor], first: int, second: int) -> float:
        return self.metric.compare(
            [tap[first][None] for tap in taps], [tap[second][None] for tap in taps]
        ).item()

    def _faithfulness(self, both: NDArray[np.uint8]) -> tuple[float | None, float | None]:
        """Judge the synthesised and the real photograph (2, H, W, 3)."""
        if self.judge is None or self.label is None:
            return None, None
        self.predicted = self.judge.predict(both)
        count = len(self.judge.names)
        for row, predicted in enumerate(self.predicted):
            self.confusion[row] += confusion_matrix(self.label, predicted, count)
        ours, real = (faithfulness(self.label, p, count, self.void) for p in self.predicted)
        return ours, real


def _boundaries(
    both: NDArray[np.uint8], instance: Path | None
) -> tuple[BoundaryScore | None, BoundaryScore | None]:
    if instance is None:
        return None, None
    ids = load_instances(instance, both.shape[1:3])
    return boundary_score(both[0], ids), boundary_score(both[1], ids)


def _mean_boundaries(images: list[ImageScore]) -> BoundaryComparison | None:
    pairs = [(i.boundaries, i.boundaries_real) for i in images if i.boundaries]
    if not pairs:
        return None
    values = np.array([[(s.found, s.chance) for s in pair if s] for pair in pairs]).mean(0)
    return BoundaryComparison(*(BoundaryScore(float(f), float(c)) for f, c in values))


def _quality(image: ImageScore) -> tuple[float, float]:
    """Sort key: the worst photograph has the lowest."""
    return (1.0 if image.faithfulness is None else image.faithfulness), -image.lpips_alex
