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
from tqdm import tqdm

from model.classes import read_classes
from model.codec import NO_CLASS, check_label_map
from model.image_io import read_label_map, read_photo
from training.data import Pair, find_pairs
from training.evaluation.frechet import fit_gaussian, frechet_distance, pooled_features
from training.evaluation.lpips import LPIPS
from training.evaluation.segmenter import Segmenter, load_segmenter

PROPORTION_TOLERANCE = 0.02
"""How far width / height of two pictures of one scene may differ, as a share."""


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
    void: tuple[int, ...]
    """Classes that ``segmentation_void_excluded`` leaves out."""
    segmentation_raw: SegmentationComparison | None
    """Over all pixels; one without a class counts as an error. None without a segmenter."""
    segmentation_void_excluded: SegmentationComparison | None
    """Over the pixels that have a class which is not void. None without a segmenter."""

    def save(self, path: Path) -> None:
        """Write the scores as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")


def score_folder(
    photos: Path,
    real: Path,
    weights: Path,
    segmenter: Path | None,
    size: int,
    void: tuple[int, ...] = (),
    device: str = "cpu",
) -> Scores:
    """Score synthesised ``photos``/NAME.png against the data folder ``real``.

    ``real`` has label/, image/ and, for the segmenter, classes.json. Everything is compared at
    the shorter side ``size`` in pixels (photographs resized by Lanczos, labels by nearest).
    ``weights`` is the folder with the files of AlexNet and LPIPS. Files in ``photos`` beyond the
    names in ``real`` are not looked at.
    Raises FileNotFoundError for a missing photograph, ValueError for one that is smaller than
    ``size`` or has other proportions, and for a segmenter of other classes.
    """
    pairs = find_pairs(real)
    _check_complete(photos, pairs)
    metric = LPIPS(weights).to(device)
    judge = _load_judge(segmenter, real, void, device) if segmenter else None
    count = len(judge.classes) if judge else 0
    confusion = np.zeros((2, count + 1, count), np.int64)  # synthesised, real
    distances: list[float] = []
    features: list[NDArray[np.float64]] = []
    for pair in tqdm(pairs, unit="img", dynamic_ncols=True):
        pictures = _load_pictures(photos / f"{pair.name}.png", pair.image, size).to(device)
        with torch.inference_mode():
            taps = metric.network(pictures)
            distances.append(metric.compare([t[:1] for t in taps], [t[1:] for t in taps]).item())
            features.append(pooled_features(taps[-1]))
            if judge:
                truth = _load_label(pair, count, pictures.shape[2:])
                for row, predicted in enumerate(judge.predict(pictures).cpu().numpy()):
                    confusion[row] += confusion_matrix(truth, predicted, count)
    synthesised, original = np.stack(features, axis=1)
    return Scores(
        images=len(pairs),
        size=size,
        lpips_alex=float(np.mean(distances)),
        frechet_distance_alexnet_relu5=frechet_distance(
            fit_gaussian(synthesised), fit_gaussian(original)
        ),
        void=void,
        segmentation_raw=_compare(confusion, None) if judge else None,
        segmentation_void_excluded=_compare(confusion, void) if judge else None,
    )


def confusion_matrix(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], count: int
) -> NDArray[np.int64]:
    """Count pixels by (true, predicted) class of two equal arrays: (count + 1, count) int64.

    The last row holds the pixels whose true value is ``NO_CLASS``.
    """
    row = np.where(truth == NO_CLASS, count, truth).astype(np.int64)
    cells = np.bincount((row * count + predicted).ravel(), minlength=(count + 1) * count)
    return cells.reshape(count + 1, count)


def segmentation_score(
    confusion: NDArray[np.int64], void: tuple[int, ...] | None
) -> SegmentationScore:
    """Score a confusion matrix (C + 1, C) of ``confusion_matrix``.

    With ``void`` None every pixel counts, and one of no class as an error; otherwise pixels of no
    class and of the classes in ``void`` are left out. Classes that the label maps lack take no
    part in the mean, so it is over the same ones for any photographs of the same maps. Raises
    ValueError when no pixel is left.
    """
    count = confusion.shape[1]
    kept = np.ones(count + 1, bool)
    if void is not None:
        kept[[*void, count]] = False
    counted = confusion[kept]
    correct = np.diagonal(confusion)[kept[:count]]
    present = confusion.sum(1)[:count][kept[:count]]
    found = counted.sum(0)[kept[:count]]
    if not present.any():
        raise ValueError(f"all pixels of the label maps are void (classes {void})")
    union = present + found - correct
    return SegmentationScore(
        pixel_accuracy=float(correct.sum() / counted.sum()),
        mean_iou=float((correct[present > 0] / union[present > 0]).mean()),
    )


def style_locality(
    before: NDArray[np.uint8], after: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> dict[str, float]:
    """Tell how local a change of style is, from two photographs (H, W, 3) and a mask (H, W).

    Returns the mean absolute change over pixels and channels, in grey levels 0..255, "inside"
    and "outside" the mask. Raises ValueError for unequal sizes or a mask without either part.
    """
    if before.shape != after.shape or before.shape[:2] != mask.shape:
        raise ValueError(
            f"sizes differ: before {before.shape}, after {after.shape}, mask {mask.shape}"
        )
    if mask.all() or not mask.any():
        raise ValueError("the mask must have pixels inside and outside the instance")
    change = np.abs(before.astype(np.int16) - after).mean(axis=2)
    return {"inside": float(change[mask].mean()), "outside": float(change[~mask].mean())}


def _check_complete(photos: Path, pairs: list[Pair]) -> None:
    missing = [pair.name for pair in pairs if not (photos / f"{pair.name}.png").is_file()]
    if missing:
        raise FileNotFoundError(
            f"{photos}: {missing[0]}.png is missing ({len(missing)} of {len(pairs)} are); "
            "synthesise every label map of the data folder as PNG under its own name"
        )


def _load_judge(path: Path, real: Path, void: tuple[int, ...], device: str) -> Segmenter:
    judge = load_segmenter(path)
    names = read_classes(real / "classes.json").names
    if judge.classes != names:
        raise ValueError(
            f"{path}: was trained on the classes {', '.join(judge.classes)}, but {real} has "
            f"{', '.join(names)}"
        )
    unknown = [c for c in void if not 0 <= c < len(names)]
    if unknown:
        raise ValueError(f"void class {unknown[0]} does not exist; classes are 0..{len(names) - 1}")
    return judge.to(device)


def _load_pictures(photo: Path, original: Path, size: int) -> Tensor:
    """Return the synthesised and the real photograph: (2, 3, H, W) float32 in [-1, 1]."""
    pictures = read_photo(photo), read_photo(original)
    for path, picture in zip((photo, original), pictures, strict=True):
        if min(picture.shape[:2]) < size:
            raise ValueError(
                f"{path}: {_size(picture)} pixels, smaller than the size {size} to compare at"
            )
    _check_proportions(photo, pictures[0], original, pictures[1])
    height, width = pictures[1].shape[:2]
    factor = size / min(height, width)
    target = round(width * factor), round(height * factor)
    resized = [Image.fromarray(p).resize(target, Image.Resampling.LANCZOS) for p in pictures]
    stacked = torch.from_numpy(np.stack([np.asarray(p) for p in resized]))
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1


def _load_label(pair: Pair, count: int, shape: torch.Size) -> NDArray[np.uint8]:
    """Return the label map at the pictures' (H, W); pixels of no class are ``NO_CLASS``."""
    label = check_label_map(read_label_map(pair.label), count, (NO_CLASS,), str(pair.label))
    height, width = shape
    resized = Image.fromarray(label).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(resized)


def _check_proportions(
    path: Path, picture: NDArray[np.uint8], other_path: Path, other: NDArray[np.uint8]
) -> None:
    (height, width), (other_height, other_width) = picture.shape[:2], other.shape[:2]
    if abs(width * other_height / (height * other_width) - 1) > PROPORTION_TOLERANCE:
        raise ValueError(
            f"{path}: {_size(picture)} pixels, but {other_path} has {_size(other)}; "
            "both must show the whole scene"
        )


def _size(picture: NDArray[np.uint8]) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"


def _compare(confusion: NDArray[np.int64], void: tuple[int, ...] | None) -> SegmentationComparison:
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
