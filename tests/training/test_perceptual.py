"""Perceptual losses: the published formula, and weights that are what they claim to be.

The real weights are not at hand here, so these are random ones in the published files' layout.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.config import TrainConfig
from training.loop import train
from training.perceptual import (
    SQUEEZENET,
    VGG16,
    VGG19,
    CascadeLoss,
    SqueezeNetLoss,
    VGG19Loss,
    fetch,
    perceptual_loss,
)

Array = NDArray[np.float64]

VGG19_CONVOLUTIONS = {
    0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128),
    10: (128, 256), 12: (256, 256), 14: (256, 256), 16: (256, 256),
    19: (256, 512), 21: (512, 512), 23: (512, 512), 25: (512, 512),
    28: (512, 512), 30: (512, 512), 32: (512, 512), 34: (512, 512),
}  # fmt: skip
"""Index in torchvision's ``features`` -> input and output channels, all of them 3x3."""
VGG19_POOLS = (4, 9, 18, 27, 36)
CLASSIFIER = {0: (4096, 25088), 3: (4096, 4096), 6: (1000, 4096)}

FIRES = {
    3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128), 9: (256, 48, 192),
    10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256),
}  # fmt: skip
"""Index in torchvision's ``features`` -> input, squeezed and half the output channels."""


def convolution(name: str, outputs: int, inputs: int, side: int) -> dict[str, Tensor]:
    """Random weights that keep the size of activations from layer to layer."""
    spread = (2 / (inputs * side**2)) ** 0.5
    return {
        f"{name}.weight": torch.randn(outputs, inputs, side, side) * spread,
        f"{name}.bias": torch.randn(outputs) * 0.1,
    }


def squeezenet_state() -> dict[str, Tensor]:
    """SqueezeNet 1.1 in torchvision's layout, with its classifier."""
    state = convolution("features.0", 64, 3, 3)
    for index, (inputs, squeezed, half) in FIRES.items():
        name = f"features.{index}"
        state |= convolution(f"{name}.squeeze", squeezed, inputs, 1)
        state |= convolution(f"{name}.expand1x1", half, squeezed, 1)
        state |= convolution(f"{name}.expand3x3", half, squeezed, 3)
    return state | convolution("classifier.1", 1000, 512, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of all three networks under the names of one's own folder."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    state: dict[str, Tensor] = {}
    for index, (inputs, outputs) in VGG19_CONVOLUTIONS.items():
        state |= convolution(f"features.{index}", outputs, inputs, 3)
    torch.save({k: v for k, v in state.items() if int(k.split(".")[1]) < 10}, folder / VGG16.name)
    # The loss doesn't read the classifier, so that it may stand for one number in the file.
    for index, shape in CLASSIFIER.items():
        state[f"classifier.{index}.weight"] = torch.zeros(1).expand(shape)
        state[f"classifier.{index}.bias"] = torch.zeros(1).expand(shape[0])
    # The published file is in the format of 2017.
    torch.save(state, folder / VGG19.name, _use_new_zipfile_serialization=False)
    features = {
        k.removeprefix("features."): v for k, v in squeezenet_state().items() if "features" in k
    }
    torch.save(features, folder / SQUEEZENET.name)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch.hub keeps weights, in a home of the test's own; still absent."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub" / "checkpoints"


def photographs(seed: int, height: int = 36, width: int = 52, count: int = 2) -> Tensor:
    """Draw a batch (count, 3, height, width) in [-1, 1]."""
    return (
        torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    )


def convolve(x: Array, kernel: Array, bias: Array) -> Array:
    """Convolve (C, H, W) with (O, C, 3, 3), zero-padded to the same size."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    result: Array = np.tensordot(kernel, windows, axes=([1, 2, 3], [0, 3, 4]))
    return result + bias[:, None, None]


def vgg19_features(image: Array, state: dict[str, Tensor]) -> list[Array]:
    """The five ReLUs that the loss compares, of one image (3, H, W)."""
    found = []
    x = image
    for index in range(30):
        if index in VGG19_POOLS:
            _, height, width = x.shape
            x = x[:, : height // 2 * 2, : width // 2 * 2]
            x = x.reshape(len(x), height // 2, 2, width // 2, 2).max((2, 4))
        elif index in VGG19_CONVOLUTIONS:
            kernel, bias = (
                state[f"features.{index}.{part}"].double().numpy() for part in ("weight", "bias")
            )
            x = np.maximum(convolve(x, kernel, bias), 0)
            if index in {0, 5, 10, 19, 28}:
                found.append(x)
    return found


def test_vgg19_loss_equals_the_published_formula(folder: Path) -> None:
    """Weights 1/32 to 1 on relu1_1 to relu5_1, images as they are: an independent computation."""
    fake, real = photographs(1), photographs(2)
    state = torch.load(folder / VGG19.name, weights_only=True)
    distances = np.zeros(5)
    for a, b in zip(fake.double().numpy(), real.double().numpy(), strict=True):
        pairs = zip(vgg19_features(a, state), vgg19_features(b, state), strict=True)
        distances += [np.abs(x - y).mean() / len(fake) for x, y in pairs]
    expected = float(distances @ [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1])
    assert min(distances) > 0.01
    assert VGG19Loss(folder)(fake, real).item() == pytest.approx(expected, rel=1e-5)


def test_cascade_loss_equals_the_published_formula(folder: Path) -> None:
    """CRN's divisors on pixels and relu1_2 to relu5_2, averages pooled: by torch's functions."""
    fake, real = photographs(1), photographs(2)
    state = torch.load(folder / VGG19.name, weights_only=True)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    a, b = (((image * 0.5 + 0.5) - mean) / std for image in (fake, real))
    expected, divisors = (a - b).abs().mean(), {2: 2.6, 7: 4.8, 12: 3.7, 21: 5.6, 30: 0.15}
    for index in range(31):
        if index in VGG19_POOLS:
            a, b = (nn.functional.avg_pool2d(x, 2) for x in (a, b))
        elif index in VGG19_CONVOLUTIONS:
            weight, bias = (state[f"features.{index}.{part}"] for part in ("weight", "bias"))
            a, b = (nn.functional.conv2d(x, weight, bias, padding=1).clamp(min=0) for x in (a, b))
        if index in divisors:
            expected = expected + (a - b).abs().mean() / divisors[index]
    assert CascadeLoss(folder)(fake, real).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("network", ["vgg19", "squeezenet", "squeezenet+vgg16", "crn"])
def test_a_loss_is_zero_for_equal_images_and_pulls_only_the_fake(
    folder: Path, network: str
) -> None:
    """Neither the networks' weights nor the photograph get a gradient."""
    loss = perceptual_loss(network, folder)  # type: ignore[arg-type]
    fake, real = photographs(1).requires_grad_(), photographs(2).requires_grad_()
    assert loss(real, real).item() == 0
    loss(fake, real).backward()
    assert fake.grad is not None
    assert fake.grad.abs().max() > 0
    assert real.grad is None
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_vgg16_joins_squeezenet_only_where_asked_for(folder: Path) -> None:
    """Its two taps change the mean over the taps."""
    fake, real = photographs(1), photographs(2)
    small, large = SqueezeNetLoss(folder), SqueezeNetLoss(folder, vgg16=True)
    assert [len(loss.features(fake)) for loss in (small, large)] == [7, 9]
    assert perceptual_loss("squeezenet", folder)(fake, real) == small(fake, real)
    assert perceptual_loss("squeezenet+vgg16", folder)(fake, real) == large(fake, real)


def test_squeezenet_features_have_unit_length(folder: Path) -> None:
    """At every tap, so that brightness of an activation doesn't weigh."""
    for features in SqueezeNetLoss(folder, vgg16=True).features(photographs(1)):
        lengths = features.norm(dim=1)
        torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_a_whole_published_file_serves_as_one_of_ones_own(folder: Path, tmp_path: Path) -> None:
    """The classifier is left out, whether or not the file holds it."""
    cut = torch.load(folder / SQUEEZENET.name, weights_only=True)
    whole = {f"features.{name}": value for name, value in cut.items()}
    whole["classifier.1.bias"] = torch.zeros(1000)
    torch.save(whole, tmp_path / SQUEEZENET.name)
    fake, real = photographs(1), photographs(2)
    assert SqueezeNetLoss(tmp_path)(fake, real) == SqueezeNetLoss(folder)(fake, real)


def publish(source: Path, content: bytes, digest: str | None = None) -> str:
    """Write a file named as torchvision names its weights, and return its address."""
    source.mkdir(exist_ok=True)
    path = source / f"net-{digest or hashlib.sha256(content).hexdigest()[:8]}.pth"
    path.write_bytes(content)
    return path.as_uri()


def test_published_weights_are_downloaded_once(hub: Path, tmp_path: Path) -> None:
    """The second run needs no network any more."""
    url = publish(tmp_path / "site", b"weights")
    path = fetch(url)
    assert path == hub / url.rpartition("/")[2]
    assert path.read_bytes() == b"weights"
    (tmp_path / "site" / path.name).unlink()
    assert fetch(url) == path


def test_a_damaged_download_is_refused_and_not_kept(hub: Path, tmp_path: Path) -> None:
    """The digits in the name decide; the next run downloads anew."""
    url = publish(tmp_path / "site", b"something else", digest="dcbb9e9d")
    with pytest.raises(ValueError, match=r"net-dcbb9e9d\.pth: damaged on its way.*dcbb9e9d"):
        fetch(url)
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize(
    ("network", "file"),
    [("vgg19", "vgg19-dcbb9e9d.pth"), ("squeezenet", "squeezenet1_1-b8a52dc0.pth")],
)
def test_a_wrong_file_put_there_by_hand_is_refused(
    hub: Path, folder: Path, network: str, file: str
) -> None:
    """The right layout under the right name is not enough."""
    hub.mkdir(parents=True)
    (hub / file).write_bytes((folder / VGG19.name).read_bytes())
    with pytest.raises(ValueError, match=rf"{file}: its SHA-256 begins with .*; delete it"):
        perceptual_loss(network)  # type: ignore[arg-type]


def test_a_truncated_file_put_there_by_hand_is_refused(hub: Path, tmp_path: Path) -> None:
    """All of a file counts, not its beginning."""
    url = publish(tmp_path / "site", b"weights")
    fetch(url).write_bytes(b"weight")
    with pytest.raises(ValueError, match="its SHA-256 begins with"):
        fetch(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/net-00000000.pth", "file:///none/net-0.pth"])
def test_without_a_network_the_message_says_where_to_put_the_file(hub: Path, url: str) -> None:
    """It names the address, the path, and the way to train without."""
    with pytest.raises(FileNotFoundError) as caught:
        fetch(url)
    assert url in str(caught.value)
    assert str(hub / url.rpartition("/")[2]) in str(caught.value)
    assert "--perceptual 0" in str(caught.value)


def test_a_folder_without_the_weights_is_named(tmp_path: Path) -> None:
    """Nothing is downloaded instead."""
    with pytest.raises(FileNotFoundError, match=r"vgg19-dcbb9e9d\.pth: perceptual weights"):
        perceptual_loss("vgg19", tmp_path)


@pytest.mark.parametrize("kind", ["another network", "damaged"])
def test_a_file_of_something_else_is_named(folder: Path, tmp_path: Path, kind: str) -> None:
    """A state dict of another network and a file that is none get one message."""
    content = (folder / SQUEEZENET.name).read_bytes()
    (tmp_path / VGG19.name).write_bytes(content if kind == "another network" else content[:999])
    with pytest.raises(ValueError, match=r"vgg19-dcbb9e9d\.pth: not the weights published at"):
        VGG19Loss(tmp_path)


def test_the_settings_reach_the_run(pairs_folder: Path, folder: Path, tmp_path: Path) -> None:
    """A run compares in the chosen network with its weights from the chosen folder."""
    settings = {
        "images": 2, "batch": 2, "crop": 32, "scale": (32, 48), "width": 4, "downsamplings": 2,
        "blocks": 1, "discriminator_width": 4, "workers": 0, "device": "cpu",
        "checkpoint_every": 2, "perceptual_weights": str(folder),
    }  # fmt: skip
    losses = []
    for network in ("vgg19", "squeezenet"):
        config = TrainConfig(data=str(pairs_folder), perceptual_network=network, **settings)  # type: ignore[arg-type]
        train(config, tmp_path / network)
        record = json.loads((tmp_path / network / "progress.jsonl").read_text())
        losses.append(record["perceptual"])
    assert losses[0] > 0
    assert losses[1] > 0
    assert losses[0] != losses[1]
