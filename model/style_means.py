"""Style codes of objects from what a style encoder sees in every pixel, in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def object_codes(features: NDArray[np.float32], index: NDArray[np.integer]) -> NDArray[np.float32]:
    """Average features (C, H, W) over every object: (M, C) float32 codes.

    ``index`` is (H, W) object numbers 0 .. M-1, all of which occur. This is instance-wise average
    pooling (pix2pixHD, section 3.4), without painting the means back.
    """
    places = index.ravel()
    sums = [np.bincount(places, weights=plane.ravel()) for plane in features]
    return (np.stack(sums, axis=1) / np.bincount(places)[:, None]).astype(np.float32)


def mean_codes(
    codes: NDArray[np.float32], index: NDArray[np.integer], groups: NDArray[np.integer]
) -> dict[int, list[float]]:
    """Average the codes (M, C) of objects over every pixel of a group.

    ``index`` is (H, W) object numbers 0 .. M-1, ``groups`` (M,) says which group an object
    belongs to. Returns group -> code, ready for JSON.
    """
    areas = np.bincount(index.ravel())
    means = {}
    for group in np.unique(groups).tolist():
        members = groups == group
        mean = np.average(codes[members], axis=0, weights=areas[members])
        means[group] = [round(value, 6) for value in mean.tolist()]
    return means
