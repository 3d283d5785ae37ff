from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchmetrics.image.fid import _compute_fid

from training.evaluation.frechet import fit_gaussian, frechet_distance
from training.evaluation.inception import InceptionDistances

DIMENSIONS = 6


class StandIn(nn.Module):
    """A network with Inception's interface and few features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Linear(3 * 16, DIMENSIONS)

    def forward(self, photos: Tensor, return_features: bool = False) -> Tensor:
        """Features (N, 6) of photographs (N, 3, 299, 299) uint8."""
        pooled = nn.functional.adaptive_avg_pool2d(photos.to(torch.float32) / 255, 4)
        features: Tensor = self.mix(pooled.flatten(1))
        return features if return_features else features.softmax(1)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That network as a TorchScript file."""
    path = tmp_path_factory.mktemp("inception") / "inception.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(StandIn()), str(path))
    return path


def photographs(seed: int, count: int = 12) -> list[np.ndarray]:
    """Draw photographs (40, 60, 3) of a common tint."""
    rng = np.random.default_rng(seed)
    tint = rng.integers(60, 180, 3)
    return [(tint + rng.integers(-50, 50, (40, 60, 3))).astype(np.uint8) for _ in range(count)]


def features(photos: list[np.ndarray]) -> np.ndarray:
    """Compute the stand-in's features (N, 6) directly."""
    resized = [Image.fromarray(p).resize((299, 299), Image.Resampling.BICUBIC) for p in photos]
    batch = torch.from_numpy(np.stack([np.asarray(p) for p in resized])).permute(0, 3, 1, 2)
    with torch.no_grad():
        found: np.ndarray = StandIn()(batch, return_features=True).double().numpy()
    return found


def test_distances_are_those_of_the_features(network: Path) -> None:
    """FID is the Frechet distance, KID the unbiased MMD with the cubic kernel."""
    made, real = photographs(1), photographs(2)
    distances = InceptionDistances(network)
    for pair in zip(made, real, strict=True):
        distances.add(np.stack(pair))
    scores = distances.compute()
    x, y = features(made), features(real)
    expected = frechet_distance(fit_gaussian(x), fit_gaussian(y))
    assert scores.fid == pytest.approx(expected, rel=1e-3, abs=1e-5)
    kernels = [(a @ b.T / DIMENSIONS + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    count = len(x)
    apart = [(k.sum() - np.trace(k)) / (count * (count - 1)) for k in kernels[:2]]
    assert scores.kid == pytest.approx(sum(apart) - 2 * kernels[2].mean(), rel=1e-3, abs=1e-6)


def test_frechet_distance_is_that_of_torchmetrics() -> None:
    """Our formula and torchmetrics' agree on random features to 1e-8 of their size."""
    rng = np.random.default_rng(3)
    first, second = (fit_gaussian(rng.normal(size=(400, 32)) @ rng.normal(size=(32, 32)))
                     for _ in range(2))  # fmt: skip
    moments = [torch.from_numpy(part) for g in (first, second) for part in (g.mean, g.covariance)]
    expected = _compute_fid(*moments).item()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)


def test_missing_weights_say_where_to_get_them(tmp_path: Path) -> None:
    """The error names the file, the package that has it, and the way without."""
    with pytest.raises(FileNotFoundError, match=r"inception-2015-12-05\.pt.*clean-fid.*leave out"):
        InceptionDistances(tmp_path / "inception.pt")


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A file that is no TorchScript is named."""
    (tmp_path / "inception.pt").write_bytes(b"something else")
    with pytest.raises(ValueError, match="no TorchScript file"):
        InceptionDistances(tmp_path / "inception.pt")
