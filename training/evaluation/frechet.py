"""The Frechet distance between two sets of photographs, on AlexNet relu5 features.

Not the FID: that one needs Inception features, and values on different features must not be
compared. It also falls with the number of photographs, so compare sets of equal size only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution of D-dimensional features."""

    mean: NDArray[np.float64]
    """(D,)"""
    covariance: NDArray[np.float64]
    """(D, D), symmetric; singular when fewer samples than dimensions made it."""


def pooled_features(relu5: Tensor) -> NDArray[np.float64]:
    """Average AlexNet's relu5 features (N, 256, h, w) over the image: (N, 256)."""
    pooled: NDArray[np.float64] = relu5.double().mean((2, 3)).cpu().numpy()
    return pooled


def fit_gaussian(features: NDArray[np.floating]) -> Gaussian:
    """Fit a Gaussian to features (N, D), N at least 2; raises ValueError."""
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(
            f"a covariance needs features (N, D) of at least 2 photographs; got {features.shape}"
        )
    values = features.astype(np.float64)
    return Gaussian(values.mean(0), np.atleast_2d(np.cov(values, rowvar=False)))


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), the squared 2-Wasserstein distance.

    Raises ValueError when the dimensions differ.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            f"the features have {first.mean.size} and {second.mean.size} dimensions; "
            "both sets must come from the same network"
        )
    # tr (C1 C2)^(1/2) is the sum of the singular values of C1^(1/2) C2^(1/2). Unlike the square
    # root of the product, which is not symmetric, this is exact for singular covariances too.
    product = _square_root(first.covariance) @ _square_root(second.covariance)
    overlap = np.linalg.svd(product, compute_uv=False).sum()
    spread = np.trace(first.covariance) + np.trace(second.covariance) - 2.0 * overlap
    # Rounding may take the distance of equal sets below zero.
    return max(0.0, float(np.square(first.mean - second.mean).sum() + spread))


def _square_root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    # Rounding leaves tiny negative eigenvalues where the true ones are zero.
    root: NDArray[np.float64] = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
    return root
