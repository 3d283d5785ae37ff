"""FID and KID, by torchmetrics, on the Inception network that published values are made with.

Its weights are not ours to ship: ``inception-2015-12-05.pt`` is the TorchScript file that
StyleGAN and clean-fid use, which downloads it on its first use.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

SIDE = 299
"""Pixels that the network takes."""


@dataclass(frozen=True)
class InceptionScores:
    """Distances between the distributions of Inception features."""

    fid: float
    """Frechet inception distance (Heusel et al. 2017); falls with the number of photographs."""
    kid: float
    """Kernel inception distance (Binkowski et al. 2018): unbiased, so also for few photographs."""


class InceptionDistances:
    """Collects photographs of both sets, then tells FID and KID."""

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        """Load the TorchScript Inception of a file.

        Raises FileNotFoundError, ValueError for another file, ImportError naming the extra.
        """
        try:
            from torchmetrics.image.fid import FrechetInceptionDistance
            from torchmetrics.image.kid import KernelInceptionDistance
        except ImportError as error:
            raise ImportError(
                "FID and KID are computed by torchmetrics: pip install 'hdsynth[fid]'"
            ) from error
        self._device = device
        self._features = _load(weights).to(device)
        known = _Known(len(self._extract(np.zeros((SIDE, SIDE, 3), np.uint8))[0])).to(device)
        self._fid = FrechetInceptionDistance(known).to(device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it keeps all features: 8 KB each
            self._kid = KernelInceptionDistance(known, subsets=1).to(device)
        self._count = 0

    def add(self, photos: NDArray[np.uint8]) -> None:
        """Add a synthesised photograph and its real one, (2, H, W, 3)."""
        for photo, is_real in zip(photos, (False, True), strict=True):
            features = self._extract(photo)
            for metric in (self._fid, self._kid):
                metric.update(features, real=is_real)
        self._count += 1

    def compute(self) -> InceptionScores:
        """Tell the distances of what was added. Needs at least two pairs."""
        # One subset of all photographs: with fewer than a thousand, drawing subsets adds noise.
        self._kid.subset_size = self._count
        return InceptionScores(float(self._fid.compute()), float(self._kid.compute()[0]))

    def _extract(self, photo: NDArray[np.uint8]) -> Tensor:
        """Pooled features (1, D) of a photograph (H, W, 3)."""
        # Antialiased, as clean-fid does it (Parmar, Zhang and Zhu 2022).
        resized = Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].to(self._device)
        with torch.inference_mode():
            features: Tensor = self._features(pixels, return_features=True)
        return features


class _Known(nn.Identity):
    """Tells torchmetrics that it is given features already."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.num_features = dimensions


def _load(weights: Path) -> nn.Module:
    if not weights.is_file():
        raise FileNotFoundError(
            f"{weights}: not found; FID and KID need inception-2015-12-05.pt, which the "
            "package clean-fid downloads on its first use; leave out --inception to score "
            "without them"
        )
    try:
        with warnings.catch_warnings():
            # TorchScript is on its way out, but is what the weights are published as.
            warnings.simplefilter("ignore", DeprecationWarning)
            network = torch.jit.load(str(weights), map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ValueError(
            f"{weights}: no TorchScript file; FID and KID need inception-2015-12-05.pt"
        ) from error
    module: nn.Module = network.eval()
    return module
