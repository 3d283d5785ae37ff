"""Find the styles of a data set: cluster the codes of its instances, class by class.

Paper section 3.4: the trained encoder describes every instance of the training photographs by
one code, and K-means over the codes of a class gives the styles to choose from. Beyond the paper,
the mean codes of a few typical photographs are kept, which say what goes together.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from tqdm import tqdm

from model.codec import NO_CLASS
from model.encode import encode_styles
from model.encoder import Encoder
from training.crops import CropRule, Example, resize_example
from training.data import PairFolder, load_example

STYLES_PER_CLASS = 10
TYPICAL_SCENES = 16
MINIMUM_SHARE = 1 / 2000
"""Instances below this share of the photograph are left out: their codes are mostly border. The
reference asks for 1/64, which would leave hardly a window of a facade."""


@dataclass(frozen=True)
class FoundStyles:
    """What a data set looks like, in codes."""

    clusters: dict[int, NDArray[np.float32]]
    """Class id -> (K, C) cluster centres, K at most ``STYLES_PER_CLASS``."""
    scenes: NDArray[np.float32]
    """(P, classes, C) mean codes of P typical photographs, P at most ``TYPICAL_SCENES``."""


def find_styles(encoder: Encoder, data: PairFolder, rule: CropRule) -> FoundStyles:
    """Encode every photograph at the size that ``rule`` usually gives it and cluster the codes.

    Classes that never occur are absent from the clusters; without labels all instances are of
    class 0. Raises MapError for an unusable example.
    """
    codes: dict[int, list[NDArray[np.float32]]] = {}
    classes = max(1, len(data.classes))
    means = np.full((len(data.pairs), classes, encoder.spec.output_channels), np.nan, np.float32)
    for mean, pair in zip(means, tqdm(data.pairs, desc="styles", unit="img"), strict=True):
        example = load_example(pair, data.input(), data.ignore)
        size = rule.usual_size(*example.size)
        found: dict[int, list[NDArray[np.float32]]] = {}
        for label, code in instance_codes(encoder, resize_example(example, *size)):
            found.setdefault(label, []).append(code)
        for label, of_class in found.items():
            codes.setdefault(label, []).extend(of_class)
            mean[label] = np.mean(of_class, axis=0)
    clusters = {label: _centres(np.stack(found)) for label, found in sorted(codes.items())}
    return FoundStyles(clusters, _typical(means))


def _typical(means: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pick photographs (N, classes, C) that stand for all; NaN = the class is not in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class that no photograph shows
        usual = np.nan_to_num(np.nanmean(means, axis=0))
    filled = np.where(np.isnan(means), usual, means)
    flat = filled.reshape(len(means), -1)
    scenes = _kmeans(flat, TYPICAL_SCENES)
    # A real photograph near each centre, for a mean of several is greyer than any of them.
    distances = np.square(scenes.cluster_centers_[:, None] - flat).sum(2)
    typical: NDArray[np.float32] = filled[np.unique(distances.argmin(1))]
    return typical


def instance_codes(encoder: Encoder, example: Example) -> list[tuple[int, NDArray[np.float32]]]:
    """Return (class id, code) of every instance of a class that is large enough."""
    _, first, areas = np.unique(example.index, return_index=True, return_counts=True)
    has_labels = example.label.ndim == 2
    labels = example.label.ravel()[first] if has_labels else np.zeros(len(first), np.uint8)
    codes = encode_styles(encoder, example.image, example.index)
    taken = (areas >= MINIMUM_SHARE * example.index.size) & (labels != NO_CLASS)
    return list(zip(labels[taken].tolist(), codes[taken], strict=True))


def _centres(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """K-means centres, the most common style first."""
    means = _kmeans(codes, STYLES_PER_CLASS)
    order = np.argsort(-np.bincount(means.labels_, minlength=means.n_clusters), kind="stable")
    return np.asarray(means.cluster_centers_[order], np.float32)


def _kmeans(points: NDArray[np.float32], count: int) -> KMeans:
    with warnings.catch_warnings():
        # Fewer distinct points than clusters: the centres then repeat, which does no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(min(count, len(points)), random_state=0, n_init=4).fit(points)
