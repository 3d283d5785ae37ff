"""Models for tests, and the rule that tests marked `gpu` are skipped where there is no GPU."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from export.build import add_engines
from model.bundle import Bundle
from model.checkpoint import write_weights
from model.classes import Classes
from model.encoder import Encoder
from model.generator import build_generator
from model.layers import init_weights
from model.scenes import CLASSES, PALETTE
from model.spec import EncoderSpec, GeneratorSpec, InputSpec
from training.evaluation.lpips import ALEXNET_FILE, HEADS_FILE, AlexNet

# The tests' networks are tiny: threads would cost more than they bring.
torch.set_num_threads(1)


@functools.cache
def has_gpu() -> bool:
    """Say whether torch can run on a GPU here."""
    return torch.cuda.is_available()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs a GPU on a machine that has none."""
    if item.get_closest_marker("gpu") is not None and not has_gpu():
        pytest.skip("needs an NVIDIA GPU")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A servable bundle for the sample scenes' classes: small, random weights, with styles."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_random_bundle(folder, styles=3)
    add_engines(folder, precisions=("float16",), sizes=((64, 48), (100, 30)))
    return folder


@pytest.fixture(scope="session")
def plain_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like ``tiny_bundle``, but without styles."""
    folder = tmp_path_factory.mktemp("models") / "plain"
    write_random_bundle(folder, styles=0)
    add_engines(folder, precisions=("float16",), sizes=((64, 48),))
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with AlexNet and the heads of LPIPS, filled at random."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(AlexNet().state_dict(), folder / ALEXNET_FILE)
    channels = (64, 192, 384, 256, 256)
    heads = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(channels)}
    torch.save(heads, folder / HEADS_FILE)
    return folder


def write_random_bundle(folder: Path, styles: int) -> Bundle:
    """Write a bundle of small random networks, without engines."""
    torch.manual_seed(0)
    spec = InputSpec(len(CLASSES), edges=True, style_channels=styles)
    network = GeneratorSpec("global", spec.channels, width=4, downsamplings=2, blocks=1)
    encoder = EncoderSpec(output_channels=styles, width=4, downsamplings=2) if styles else None
    draws = np.random.default_rng(0)
    clusters = {
        label: draws.uniform(-1, 1, (4, styles)).astype(np.float32)
        for label in range(1, len(CLASSES))
    }
    bundle = Bundle(
        name="tiny",
        input=spec,
        generator=network,
        encoder=encoder,
        classes=Classes(CLASSES, PALETTE),
        styles=clusters if styles else {},
    )
    generator = build_generator(network).apply(init_weights)
    with torch.no_grad():
        # Strong weights, so that a changed input visibly changes the photograph.
        for parameter in generator.parameters():
            parameter.mul_(8)
    style_encoder = Encoder(encoder).apply(init_weights) if encoder else None
    card = "# tiny\n\nRandom weights for tests.\n"
    return write_weights(bundle, folder, generator, style_encoder, card)
