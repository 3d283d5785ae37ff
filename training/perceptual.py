"""Perceptual loss on ImageNet features from local weight files (no download).

SqueezeNet 1.1 sees structure, the first two blocks of VGG16 see colour and texture. At every
tap the features are scaled to unit length over the channels and compared by squared distance,
so that no tap outweighs the others by the size of its activations.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SQUEEZENET_FILE = "squeezenet1_1_torchvision_features.pth"
VGG16_FILE = "vgg16_torchvision_blocks1-2.pth"


class _Fire(nn.Module):
    """SqueezeNet's squeeze-and-expand block."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _squeezenet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), _pool(),
        _Fire(64, 16, 64), _Fire(128, 16, 64), _pool(),
        _Fire(128, 32, 128), _Fire(256, 32, 128), _pool(),
        _Fire(256, 48, 192), _Fire(384, 48, 192), _Fire(384, 64, 256), _Fire(512, 64, 256),
    )  # fmt: skip


def _vgg16_blocks() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(),
        nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


class PerceptualLoss(nn.Module):
    """Feature distance between two batches of photographs (N, 3, H, W) in [-1, 1]."""

    SQUEEZENET_TAPS = (1, 4, 7, 9, 10, 11, 12)
    VGG16_TAPS = (3, 8)
    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path, vgg16: bool = True) -> None:
        """Load the networks from the folder ``weights``; raises FileNotFoundError.

        Without ``vgg16`` only SqueezeNet compares, at a fifth of the cost.
        """
        super().__init__()
        self.squeezenet = _load(_squeezenet(), weights / SQUEEZENET_FILE, "")
        self.vgg16 = _load(_vgg16_blocks(), weights / VGG16_FILE, "features.") if vgg16 else None
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))
        self.requires_grad_(False)

    def features(self, image: Tensor) -> list[Tensor]:
        """Unit-length features of ``image`` (N, 3, H, W) in [-1, 1] at every tap."""
        image = ((image + 1) / 2 - self.mean) / self.std
        found = _taps(self.squeezenet, image, self.SQUEEZENET_TAPS)
        return found + (_taps(self.vgg16, image, self.VGG16_TAPS) if self.vgg16 else [])

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Mean over the taps of the squared feature distance (scalar float32)."""
        with torch.no_grad():
            wanted = self.features(real)
        terms = [
            (f - r).square().sum(1).mean() for f, r in zip(self.features(fake), wanted, strict=True)
        ]
        return torch.stack(terms).mean()


def _taps(network: nn.Sequential, x: Tensor, taps: tuple[int, ...]) -> list[Tensor]:
    found = []
    for index, layer in enumerate(network):
        x = layer(x)
        if index in taps:
            found.append(F.normalize(x.float(), dim=1, eps=1e-6))
    return found


def _load(network: nn.Sequential, path: Path, prefix: str) -> nn.Sequential:
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: perceptual weights not found; pass their folder with --perceptual-weights, "
            "or 'none' to train without the perceptual loss"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict({k.removeprefix(prefix): v for k, v in state.items()})
    return network
