"""Perceptual losses on networks trained on ImageNet, with torchvision's published weights.

VGG19 is the method's own loss, and the cascaded refinement network has another one on it.
SqueezeNet 1.1, alone or with the first two blocks of VGG16, costs a fraction of it: SqueezeNet
sees structure, VGG16's first blocks colour and texture.
"""

from __future__ import annotations

import hashlib
import pickle
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config import PerceptualNetwork


class WeightFile(NamedTuple):
    """A published state dict, of which only the convolutions (``features``) are used."""

    name: str
    """Its name in a folder of one's own; the file may then hold the convolutions alone."""
    url: str
    """Where it is published; the name there ends in the first digits of its SHA-256."""


VGG19 = WeightFile("vgg19-dcbb9e9d.pth", "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth")
VGG16 = WeightFile(
    "vgg16_torchvision_blocks1-2.pth", "https://download.pytorch.org/models/vgg16-397923af.pth"
)
SQUEEZENET = WeightFile(
    "squeezenet1_1_torchvision_features.pth",
    "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
)


def perceptual_loss(
    network: PerceptualNetwork, folder: Path | None = None, *, pretrained: bool = True
) -> nn.Module:
    """Return the loss of this name: two batches (N, 3, H, W) in [-1, 1] -> scalar float32.

    The weights come from ``folder``, or else are downloaded once into torch.hub's folder. Without
    ``pretrained`` they are random, for measurements of time and memory.
    Raises FileNotFoundError when they can't be had, ValueError when they are not what they
    should be.
    """
    if network == "vgg19":
        return VGG19Loss(folder, pretrained=pretrained)
    if network == "crn":
        return CascadeLoss(folder, pretrained=pretrained)
    return SqueezeNetLoss(folder, vgg16=network == "squeezenet+vgg16", pretrained=pretrained)


class VGG19Loss(nn.Module):
    """The method's perceptual loss: weighted L1 distances of VGG19's features.

    As in the reference, images enter as they are, in [-1, 1], without ImageNet's normalisation.
    """

    TAPS = (1, 6, 11, 20, 29)
    """relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1."""
    WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)

    def __init__(self, folder: Path | None = None, *, pretrained: bool = True) -> None:
        super().__init__()
        self.network = _vgg((64, 64, 0, 128, 128, 0, *[256] * 4, 0, *[512] * 4, 0, 512))
        if pretrained:
            load_weights(self.network, VGG19, folder)
        self.requires_grad_(False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Sum over the taps of weight * mean|fake - real| (scalar float32)."""
        with torch.no_grad():
            wanted = _taps(self.network, real, self.TAPS)
        found = _taps(self.network, fake, self.TAPS)
        terms = [
            weight * F.l1_loss(f, r)
            for weight, f, r in zip(self.WEIGHTS, found, wanted, strict=True)
        ]
        return torch.stack(terms).sum()


class CascadeLoss(nn.Module):
    """The objective of the cascaded refinement network: weighted L1 distances of VGG19's features.

    Chen and Koltun, ICCV 2017, equation 1, with the weights of their code. That measures in grey
    levels; torchvision's VGG19 takes images in ImageNet's normalisation, and so the pixels are
    compared in that as well. VGG19 pools by averaging here, as in their code.
    """

    TAPS = (3, 8, 13, 22, 31)
    """relu1_2, relu2_2, relu3_2, relu4_2 and relu5_2."""
    WEIGHTS = (1.0, 1 / 2.6, 1 / 4.8, 1 / 3.7, 1 / 5.6, 10 / 1.5)
    """Of the pixels, then of the taps."""
    mean: Tensor
    std: Tensor

    def __init__(self, folder: Path | None = None, *, pretrained: bool = True) -> None:
        super().__init__()
        plan = (64, 64, 0, 128, 128, 0, *[256] * 4, 0, *[512] * 4, 0, 512, 512)
        self.network = _vgg(plan, nn.AvgPool2d)
        if pretrained:
            load_weights(self.network, VGG19, folder)
        _register_normalisation(self)
        self.requires_grad_(False)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return ``image`` (N, 3, H, W) in [-1, 1], normalised, and its features at every tap."""
        image = _normalised(self, image)
        return [image, *_taps(self.network, image, self.TAPS)]

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Sum over pixels and taps of weight * mean|fake - real| (scalar float32)."""
        with torch.no_grad():
            wanted = self.features(real)
        terms = [
            weight * F.l1_loss(f, r)
            for weight, f, r in zip(self.WEIGHTS, self.features(fake), wanted, strict=True)
        ]
        return torch.stack(terms).sum()


class SqueezeNetLoss(nn.Module):
    """Distance of unit-length features in SqueezeNet and, if wanted, VGG16's first two blocks.

    At every tap the features are scaled to unit length over the channels and compared by
    squared distance, so that no tap outweighs the others by the size of its activations.
    """

    SQUEEZENET_TAPS = (1, 4, 7, 9, 10, 11, 12)
    VGG16_TAPS = (3, 8)
    mean: Tensor
    std: Tensor

    def __init__(
        self, folder: Path | None = None, *, vgg16: bool = False, pretrained: bool = True
    ) -> None:
        super().__init__()
        self.squeezenet = _squeezenet()
        self.vgg16 = _vgg((64, 64, 0, 128, 128)) if vgg16 else None
        if pretrained:
            load_weights(self.squeezenet, SQUEEZENET, folder)
            if self.vgg16:
                load_weights(self.vgg16, VGG16, folder)
        _register_normalisation(self)
        self.requires_grad_(False)

    def features(self, image: Tensor) -> list[Tensor]:
        """Unit-length features (N, C, h, w) of ``image`` (N, 3, H, W) in [-1, 1] at every tap."""
        image = _normalised(self, image)
        found = _taps(self.squeezenet, image, self.SQUEEZENET_TAPS)
        if self.vgg16:
            found += _taps(self.vgg16, image, self.VGG16_TAPS)
        return [F.normalize(features, dim=1, eps=1e-6) for features in found]

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Mean over the taps of the squared feature distance (scalar float32)."""
        with torch.no_grad():
            wanted = self.features(real)
        terms = [
            (f - r).square().sum(1).mean() for f, r in zip(self.features(fake), wanted, strict=True)
        ]
        return torch.stack(terms).mean()


def _register_normalisation(loss: nn.Module) -> None:
    """Keep ImageNet's mean and deviation where the network goes."""
    loss.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
    loss.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))


def _normalised(loss: CascadeLoss | SqueezeNetLoss, image: Tensor) -> Tensor:
    """Images in [-1, 1] as torchvision's networks know them."""
    return ((image + 1) / 2 - loss.mean) / loss.std


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


def _squeezenet() -> nn.Sequential:
    def pool() -> nn.Module:
        return nn.MaxPool2d(3, stride=2, ceil_mode=True)

    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), pool(),
        _Fire(64, 16, 64), _Fire(128, 16, 64), pool(),
        _Fire(128, 32, 128), _Fire(256, 32, 128), pool(),
        _Fire(256, 48, 192), _Fire(384, 48, 192), _Fire(384, 64, 256), _Fire(512, 64, 256),
    )  # fmt: skip


def _vgg(
    plan: tuple[int, ...], pool: type[nn.MaxPool2d | nn.AvgPool2d] = nn.MaxPool2d
) -> nn.Sequential:
    """Build a VGG from the output channels of its convolutions; 0 is a pooling layer."""
    layers: list[nn.Module] = []
    channels = 3
    for width in plan:
        if width:
            # In place, a ReLU of a full-size photograph keeps one large tensor instead of two.
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        else:
            layers.append(pool(2))
    return nn.Sequential(*layers)


def _taps(network: nn.Sequential, x: Tensor, taps: tuple[int, ...]) -> list[Tensor]:
    """Outputs (N, C, h, w) float32 of the layers in ``taps``."""
    found = []
    for index, layer in enumerate(network):
        x = layer(x)
        if index in taps:
            found.append(x.float())
    return found


def load_weights(network: nn.Sequential, file: WeightFile, folder: Path | None) -> nn.Sequential:
    """Fill ``network`` from ``file`` in ``folder``, or else from its published copy.

    Raises FileNotFoundError, and ValueError for a file that holds something else.
    """
    path = folder / file.name if folder else fetch(file.url)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: perceptual weights not found; put them there, or leave out "
            f"--perceptual-weights to download {file.url}"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        convolutions = {name.removeprefix("features."): value for name, value in state.items()}
        network.load_state_dict({name: convolutions[name] for name in network.state_dict()})
    except (AttributeError, EOFError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: not the weights published at {file.url}: {error}") from error
    return network


def fetch(url: str) -> Path:
    """Return the copy of a published weight file in torch.hub's folder, downloaded if absent.

    The first digits of the file's SHA-256 stand at the end of its name; every copy must agree
    with them, one that was put there by hand as well. Raises FileNotFoundError when the file
    can't be downloaded, ValueError when it is not the published one.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    expected = path.stem.rpartition("-")[2]
    if not path.exists():
        _download(url, path, expected)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(expected):
        raise ValueError(
            f"{path}: its SHA-256 begins with {digest[: len(expected)]}, that of the published "
            f"file with {expected}; delete it, then run again to download {url}"
        )
    return path


def _download(url: str, path: Path, expected: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), expected)
    except RuntimeError as error:  # what torch raises for a wrong SHA-256; it keeps no file then
        raise ValueError(f"{url}: damaged on its way, {error}; run again") from error
    except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
        raise FileNotFoundError(
            f"{path}: can't be downloaded from {url} ({error}); fetch it on a machine with a "
            "network and put it there, or choose --perceptual 0"
        ) from error
