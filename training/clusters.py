"""Find the styles of a data set: cluster the codes of its instances, class by class.

Paper section 3.4: the trained encoder describes every instance of the training photographs by
one code, and K-means over the codes of a class gives the styles to choose from.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from tqdm import tqdm

from model.encode import encode_styles
from model.encoder import Encoder
from training.data import Example, Pair, load_example, resize_example

STYLES_PER_CLASS = 10
MINIMUM_SHARE = 1 / 2000
"""Instances below this share of the photograph are left out: their codes are mostly border. The
reference asks for 1/64, which would leave hardly a window of a facade."""


def find_styles(
    encoder: Encoder, pairs: Sequence[Pair], label_count: int, side: int, multiple: int
) -> dict[int, NDArray[np.float32]]:
    """Return class id -> (K, C) cluster centres, K at most ``STYLES_PER_CLASS``.

    Photographs are encoded at a shorter side of ``side`` pixels, rounded to ``multiple``. Classes
    that never occur are absent. Raises MapError for an unusable example.
    """
    codes: dict[int, list[NDArray[np.float32]]] = {}
    for pair in tqdm(pairs, desc="styles", unit="img", dynamic_ncols=True):
        example = load_example(pair, label_count)
        height, width = example.label.shape
        factor = side / min(height, width)
        size = [max(multiple, round(s * factor / multiple) * multiple) for s in (height, width)]
        for label, code in instance_codes(encoder, resize_example(example, *size)):
            codes.setdefault(label, []).append(code)
    return {label: _centres(np.stack(found)) for label, found in sorted(codes.items())}


def instance_codes(encoder: Encoder, example: Example) -> list[tuple[int, NDArray[np.float32]]]:
    """Return (class id, code) of every instance of the example that is large enough."""
    _, first, areas = np.unique(example.index, return_index=True, return_counts=True)
    labels = example.label.ravel()[first]
    codes = encode_styles(encoder, example.image, example.index)
    large = areas >= MINIMUM_SHARE * example.index.size
    return list(zip(labels[large].tolist(), codes[large], strict=True))


def _centres(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """K-means centres, the most common style first."""
    count = min(STYLES_PER_CLASS, len(codes))
    with warnings.catch_warnings():
        # Fewer distinct codes than clusters: the centres then repeat, which does no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        means = KMeans(count, random_state=0, n_init=4).fit(codes)
    order = np.argsort(-np.bincount(means.labels_, minlength=count), kind="stable")
    return np.asarray(means.cluster_centers_[order], np.float32)
