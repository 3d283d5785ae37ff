"""LPIPS v0.1 with AlexNet (Zhang et al. 2018), from local weight files.

The published metric to the last constant, so its values may stand beside those of other work.
The same AlexNet serves the Frechet distance and the segmenter.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ALEXNET_FILE = "alexnet_torchvision_features.pth"
HEADS_FILE = "lpips_v0.1_alex_heads.pth"

# The metric's scaling layer: ImageNet's mean and deviation, for pixels in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
UNIT_EPSILON = 1e-10


class AlexNet(nn.Module):
    """The convolutions of torchvision's AlexNet, observed after each of the five ReLUs."""

    CHANNELS = (64, 192, 384, 256, 256)
    """Channels of relu1 to relu5; their strides are 4, 8, 16, 16 and 16 pixels."""
    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return relu1 .. relu5 of ``image`` (N, 3, H, W) in [-1, 1], each (N, C, h, w)."""
        x = (image - self.shift) / self.scale
        found = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(x)
        return found


def load_alexnet(weights: Path) -> AlexNet:
    """Load AlexNet, frozen, from the folder ``weights``.

    Raises FileNotFoundError, and ValueError for a file that holds something else.
    """
    network = AlexNet()
    state = _read_state(weights / ALEXNET_FILE)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{weights / ALEXNET_FILE}: not AlexNet's features: {error}") from error
    return network.requires_grad_(False)


class LPIPS(nn.Module):
    """Perceptual distance of photographs; 0 = identical, usually below 1."""

    def __init__(self, weights: Path) -> None:
        """Load both weight files from the folder ``weights``.

        Raises FileNotFoundError, and ValueError for a file that holds something else.
        """
        super().__init__()
        self.network = load_alexnet(weights)
        for index, head in enumerate(_read_heads(weights / HEADS_FILE)):
            self.register_buffer(f"head{index}", head)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances (N,) float32 of two batches (N, 3, H, W) float32 in [-1, 1].

        Raises ValueError for other shapes.
        """
        if first.shape != second.shape or first.ndim != 4 or first.shape[1] != 3:
            raise ValueError(
                f"LPIPS compares batches (N, 3, H, W); got {tuple(first.shape)} and "
                f"{tuple(second.shape)}"
            )
        return self.compare(self.network(first), self.network(second))

    def compare(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """Distances (N,) of two batches given as AlexNet's features relu1 .. relu5."""
        total = torch.zeros(len(first[0]), device=first[0].device)
        for index, (a, b) in enumerate(zip(first, second, strict=True)):
            difference = (_unit_length(a) - _unit_length(b)).square()
            # The head is a 1x1 convolution to one channel; then the mean over all places.
            total = total + F.conv2d(difference, self.get_buffer(f"head{index}")).mean((1, 2, 3))
        return total


def _unit_length(features: Tensor) -> Tensor:
    norm = features.square().sum(1, keepdim=True).sqrt()
    return features / (norm + UNIT_EPSILON)


def _read_heads(path: Path) -> list[Tensor]:
    """Read the five heads, each (1, C, 1, 1)."""
    state = _read_state(path)
    expected = {f"lin{i}.model.1.weight": (1, c, 1, 1) for i, c in enumerate(AlexNet.CHANNELS)}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if found != expected:
        raise ValueError(f"{path}: not the heads of LPIPS with AlexNet; it holds {found}")
    return [state[name] for name in expected]


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: evaluation weights not found; give the folder that holds {ALEXNET_FILE} "
            f"and {HEADS_FILE}"
        )
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: damaged, or no file of weights: {error}") from error
    return state
