from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.functional.image import lpips as reference

from training.evaluation.lpips import ALEXNET_FILE, HEADS_FILE, LPIPS, AlexNet

Array = NDArray[np.float64]
CONVOLUTIONS = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))
"""Index in torchvision's module list, stride and padding of AlexNet's convolutions."""


@pytest.fixture(scope="module")
def metric(weights: Path) -> LPIPS:
    """The metric with those weights."""
    return LPIPS(weights)


def random_images(count: int, height: int, width: int, seed: int) -> torch.Tensor:
    """Draw images (count, 3, height, width) in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, height, width, generator=generator) * 2 - 1


def convolve(x: Array, kernel: Array, bias: Array, stride: int, padding: int) -> Array:
    """Convolve (C, H, W) with (O, C, k, k)."""
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    result: Array = np.einsum("chwij,ocij->ohw", windows, kernel, optimize=True)
    return result + bias[:, None, None]


def pool(x: Array) -> Array:
    """Take the maximum of 3x3 windows with stride 2."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2]
    result: Array = windows.max((3, 4))
    return result


def numpy_lpips(first: Array, second: Array, weights: Path) -> float:
    """Compute LPIPS v0.1 of two images (3, H, W) from its published definition, step by step."""
    network = torch.load(weights / ALEXNET_FILE, weights_only=True)
    heads = torch.load(weights / HEADS_FILE, weights_only=True)
    shift = np.array([-0.030, -0.088, -0.188])[:, None, None]
    scale = np.array([0.458, 0.448, 0.450])[:, None, None]
    x, y = (first - shift) / scale, (second - shift) / scale
    total = 0.0
    for layer, (index, stride, padding) in enumerate(CONVOLUTIONS):
        if layer in (1, 2):
            x, y = pool(x), pool(y)
        kernel = network[f"features.{index}.weight"].double().numpy()
        bias = network[f"features.{index}.bias"].double().numpy()
        x, y = (np.maximum(convolve(z, kernel, bias, stride, padding), 0) for z in (x, y))
        unit_x, unit_y = (z / (np.sqrt((z**2).sum(0)) + 1e-10) for z in (x, y))
        head = heads[f"lin{layer}.model.1.weight"].double().numpy().reshape(-1, 1, 1)
        total += float((head * (unit_x - unit_y) ** 2).sum(0).mean())
    return total


def test_lpips_equals_its_published_definition(metric: LPIPS, weights: Path) -> None:
    """Every image of a batch gets the value of an independent computation in numpy."""
    first, second = random_images(2, 67, 83, seed=1), random_images(2, 67, 83, seed=2)
    expected = [
        numpy_lpips(a.double().numpy(), b.double().numpy(), weights)
        for a, b in zip(first, second, strict=True)
    ]
    assert metric(first, second).tolist() == pytest.approx(expected, rel=1e-5)


def test_lpips_is_that_of_torchmetrics(weights: Path, tmp_path: Path) -> None:
    """With the published heads, which torchmetrics carries, its parts give our value to 1e-5."""
    published = Path(reference.__file__).with_name("lpips_models") / "alex.pth"
    heads = torch.load(published, map_location="cpu", weights_only=True)
    (tmp_path / ALEXNET_FILE).symlink_to(weights / ALEXNET_FILE)
    torch.save(heads, tmp_path / HEADS_FILE)
    metric = LPIPS(tmp_path)
    first, second = random_images(2, 67, 83, seed=8), random_images(2, 67, 83, seed=9)
    scaled = [reference.ScalingLayer()(image) for image in (first, second)]
    expected = torch.zeros(2)
    taps = zip(*(observe(metric.network.features, image) for image in scaled), strict=True)
    for (a, b), head in zip(taps, heads.values(), strict=True):
        unit = [reference._normalize_tensor(features) for features in (a, b)]
        weighted = torch.nn.functional.conv2d((unit[0] - unit[1]) ** 2, head)
        expected += reference._spatial_average(weighted, keep_dim=False).flatten()
    assert metric(first, second).tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def observe(layers: torch.nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    """Return what comes out of each ReLU."""
    found = []
    for layer in layers:
        x = layer(x)
        if isinstance(layer, torch.nn.ReLU):
            found.append(x)
    return found


def test_scaling_layer_is_imagenets_normalisation() -> None:
    """The metric's constants for pixels in [-1, 1] say the same as ImageNet's for [0, 1]."""
    network = AlexNet()
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(network.shift.flatten(), 2 * mean - 1)
    torch.testing.assert_close(network.scale.flatten(), 2 * deviation)


def test_distance_of_equal_images_is_zero(metric: LPIPS) -> None:
    """An image is at distance 0 from itself."""
    image = random_images(1, 64, 64, seed=3)
    assert metric(image, image).tolist() == [0.0]


def test_distance_is_symmetric(metric: LPIPS) -> None:
    """The order of the two images does not matter."""
    first, second = random_images(1, 64, 64, seed=4), random_images(1, 64, 64, seed=5)
    assert metric(first, second).item() == metric(second, first).item() > 0


def test_stronger_distortion_is_farther_away(metric: LPIPS) -> None:
    """More noise gives a larger distance."""
    image, noise = random_images(1, 64, 64, seed=6), random_images(1, 64, 64, seed=7)
    near, far = (metric(image, image + amount * noise).item() for amount in (0.05, 0.5))
    assert 0 < near < far


def test_features_that_are_all_zero_stay_finite(metric: LPIPS) -> None:
    """Places where no feature answers have no direction, and so no distance."""
    silent = [torch.zeros(1, channels, 2, 2) for channels in AlexNet.CHANNELS]
    assert metric.compare(silent, silent).tolist() == [0.0]


@pytest.mark.parametrize(
    "shapes",
    [((1, 3, 64, 64), (1, 3, 64, 80)), ((3, 64, 64), (3, 64, 64)), ((1, 1, 64, 64),) * 2],
)
def test_other_shapes_are_refused(metric: LPIPS, shapes: tuple[tuple[int, ...], ...]) -> None:
    """Unequal sizes, single images and grey images raise an error that names the shapes."""
    with pytest.raises(ValueError, match=r"batches \(N, 3, H, W\); got"):
        metric(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


def test_missing_weights_are_named(tmp_path: Path) -> None:
    """The error names the file and what to give."""
    with pytest.raises(FileNotFoundError, match=f"{ALEXNET_FILE}: evaluation weights not found"):
        LPIPS(tmp_path)


def test_heads_of_another_network_are_refused(weights: Path, tmp_path: Path) -> None:
    """The heads for SqueezeNet cannot be taken for those for AlexNet."""
    (tmp_path / ALEXNET_FILE).symlink_to(weights / ALEXNET_FILE)
    torch.save({"lin0.model.1.weight": torch.rand(1, 64, 1, 1)}, tmp_path / HEADS_FILE)
    with pytest.raises(ValueError, match="not the heads of LPIPS with AlexNet"):
        LPIPS(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no weights at all"])
def test_damaged_weights_are_refused(content: bytes, tmp_path: Path) -> None:
    """A truncated or foreign file raises an error that names it."""
    (tmp_path / ALEXNET_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=f"{ALEXNET_FILE}: damaged"):
        LPIPS(tmp_path)


def test_another_network_is_refused(tmp_path: Path) -> None:
    """Weights of other names or shapes raise an error that names the file."""
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / ALEXNET_FILE)
    with pytest.raises(ValueError, match=f"{ALEXNET_FILE}: not AlexNet's features"):
        LPIPS(tmp_path)
