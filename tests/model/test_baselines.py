"""The paper's baselines: published sizes, shapes, and a gradient for every weight."""

from __future__ import annotations

import pytest
import torch

from model.generator import build_generator
from model.spec import GeneratorSpec

UNET = GeneratorSpec("unet", 36, width=64, downsamplings=8, blocks=0, norm="batch")
CASCADE = GeneratorSpec("cascade", 20, width=1024, downsamplings=7, blocks=0)


def weights(spec: GeneratorSpec) -> int:
    """Number of weights of the network, counted without allocating them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_generator(spec).parameters())


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        (UNET, 54_447_747),
        (GeneratorSpec("unet", 3, width=64, downsamplings=8, blocks=0, norm="batch"), 54_413_955),
        (CASCADE, 98_622_851),
        (GeneratorSpec("cascade", 20, width=1024, downsamplings=8, blocks=0), 98_674_531),
    ],
)
def test_weights_are_as_many_as_published(spec: GeneratorSpec, count: int) -> None:
    """54.41 and 54.45 million for pix2pix at 3 and 36 channels, 98.6 and 98.7 for CRN."""
    assert weights(spec) == count


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (32, 128)])
@pytest.mark.parametrize("kind", ["unet", "cascade"])
def test_output_has_the_size_of_the_input(kind: str, size: tuple[int, int]) -> None:
    """At several sizes, wide and square."""
    spec = GeneratorSpec(kind, 5, width=32, downsamplings=5, blocks=0, norm="batch")  # type: ignore[arg-type]
    network = build_generator(spec).eval()
    image = network(torch.rand(2, 5, *size))
    assert image.shape == (2, 3, *size)
    assert torch.isfinite(image).all()


@pytest.mark.parametrize("kind", ["unet", "cascade"])
def test_every_weight_gets_a_gradient(kind: str) -> None:
    """No layer is left out of the forward pass."""
    spec = GeneratorSpec(kind, 5, width=32, downsamplings=4, blocks=0, norm="batch")  # type: ignore[arg-type]
    network = build_generator(spec)
    network(torch.rand(2, 5, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_unet_is_reproducible_in_evaluation() -> None:
    """Dropout acts in training only."""
    spec = GeneratorSpec("unet", 5, width=4, downsamplings=7, blocks=0, norm="batch")
    network, x = build_generator(spec), torch.rand(2, 5, 128, 128)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_legal_sizes() -> None:
    """The published U-Net takes multiples of 256, the cascade multiples of 128 from 256 on."""
    assert (UNET.size_multiple, UNET.minimum_side) == (256, 256)
    assert (CASCADE.size_multiple, CASCADE.minimum_side) == (128, 256)


def test_enhancers_belong_to_the_local_generator() -> None:
    """A U-Net with enhancers describes no network."""
    with pytest.raises(ValueError, match="'local' has at least one, the others none"):
        GeneratorSpec("unet", 5, enhancers=1)
