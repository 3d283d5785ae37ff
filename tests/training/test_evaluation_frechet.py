from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray

from training.evaluation.frechet import (
    Gaussian,
    fit_gaussian,
    frechet_distance,
    pooled_features,
)

Array = NDArray[np.float64]
RNG = np.random.default_rng


def random_covariance(dimensions: int, seed: int) -> Array:
    """Draw a covariance of full rank."""
    factor = RNG(seed).normal(size=(dimensions, dimensions))
    product: Array = factor @ factor.T
    return product


def test_one_dimension_follows_the_closed_form() -> None:
    """N(1, 2^2) and N(4, 6^2) are (4 - 1)^2 + (6 - 2)^2 apart."""
    first = Gaussian(np.array([1.0]), np.array([[4.0]]))
    second = Gaussian(np.array([4.0]), np.array([[36.0]]))
    assert frechet_distance(first, second) == pytest.approx(25.0)


def test_common_axes_follow_the_closed_form() -> None:
    """With common axes, however turned, the deviations' squared differences add up."""
    axes = np.linalg.qr(RNG(0).normal(size=(6, 6)))[0]
    deviations = RNG(1).uniform(0.5, 3.0, size=(2, 6))
    means = RNG(2).normal(size=(2, 6))
    first, second = (
        Gaussian(mean, (axes * deviation**2) @ axes.T)
        for mean, deviation in zip(means, deviations, strict=True)
    )
    expected = ((means[0] - means[1]) ** 2).sum() + ((deviations[0] - deviations[1]) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(expected)


def test_general_covariances_equal_the_matrix_square_root() -> None:
    """Without common axes the result equals scipy's square root of the product."""
    first = Gaussian(np.zeros(8), random_covariance(8, seed=3))
    second = Gaussian(np.ones(8), random_covariance(8, seed=4))
    root = scipy.linalg.sqrtm(first.covariance @ second.covariance)
    expected = 8 + np.trace(first.covariance + second.covariance - 2 * root).real
    assert frechet_distance(first, second) == pytest.approx(expected)
    assert frechet_distance(second, first) == pytest.approx(expected)


def test_fewer_samples_than_dimensions_stay_exact() -> None:
    """Five samples in 40 dimensions, stretched to twice their spread and moved."""
    samples = RNG(5).normal(size=(5, 40))
    first, second = fit_gaussian(samples), fit_gaussian(2 * samples)
    expected = (first.mean**2).sum() + np.trace(first.covariance)
    assert np.linalg.matrix_rank(first.covariance) == 4
    assert frechet_distance(first, second) == pytest.approx(expected)


def test_distance_to_itself_is_zero() -> None:
    """A set is at distance 0 from itself, also when its covariance is singular."""
    gaussian = fit_gaussian(RNG(6).normal(size=(10, 64)))
    assert frechet_distance(gaussian, gaussian) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(gaussian, gaussian) >= 0


def test_fit_recovers_the_sample_moments() -> None:
    """The fit is the mean and the unbiased covariance, in double precision."""
    samples = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]], np.float32)
    gaussian = fit_gaussian(samples)
    assert gaussian.mean.tolist() == [2.0, 2.0]
    assert gaussian.covariance.tolist() == [[4.0, 3.0], [3.0, 3.0]]


def test_pooling_averages_over_the_image() -> None:
    """Each channel is averaged over its places, each image alone."""
    relu5 = torch.arange(2 * 3 * 2 * 2, dtype=torch.float32).reshape(2, 3, 2, 2)
    assert pooled_features(relu5).tolist() == [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]


@pytest.mark.parametrize("shape", [(1, 4), (4,)])
def test_one_photograph_has_no_covariance(shape: tuple[int, ...]) -> None:
    """Too few samples raise an error instead of giving NaN."""
    with pytest.raises(ValueError, match="at least 2 photographs"):
        fit_gaussian(np.zeros(shape))


def test_features_of_different_networks_are_refused() -> None:
    """Unequal dimensions raise an error that names both."""
    first, second = (Gaussian(np.zeros(n), np.eye(n)) for n in (2, 3))
    with pytest.raises(ValueError, match="2 and 3 dimensions"):
        frechet_distance(first, second)
