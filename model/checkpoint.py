"""Read and write a bundle's weights as torch networks."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from model.bundle import (
    ENCODER_WEIGHTS,
    GENERATOR_WEIGHTS,
    MODEL_CARD,
    Bundle,
    BundleError,
    describe,
)
from model.encoder import Encoder
from model.generator import Generator, build_generator


def write_weights(
    bundle: Bundle,
    folder: Path,
    generator: nn.Module,
    encoder: nn.Module | None,
    card: str,
    dtype: torch.dtype = torch.float16,
) -> Bundle:
    """Write a new bundle with weights and a model card but no engines yet; returns it loaded.

    Weights are stored as ``dtype``; float16 halves the bundle and costs less than one grey
    level. Raises BundleError when ``folder`` exists and holds anything.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BundleError(f"{folder}: is not empty; choose a new folder or remove it first")
    folder.mkdir(parents=True, exist_ok=True)
    for file, network in ((GENERATOR_WEIGHTS, generator), (ENCODER_WEIGHTS, encoder)):
        if network is not None:
            state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
            save_file({k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()},
                      folder / file)  # fmt: skip
    (folder / MODEL_CARD).write_text(card, encoding="utf-8")
    return describe(bundle, folder)


def load_generator(bundle: Bundle) -> Generator:
    """Build the bundle's generator in float32, evaluation mode; raises BundleError."""
    network = build_generator(bundle.generator)
    _load(network, bundle.path(GENERATOR_WEIGHTS))
    return network


def load_encoder(bundle: Bundle) -> Encoder:
    """Build the bundle's style encoder in float32, evaluation mode; raises BundleError."""
    if bundle.encoder is None:
        raise BundleError(f"{bundle.folder}: this model has no style encoder")
    network = Encoder(bundle.encoder)
    _load(network, bundle.path(ENCODER_WEIGHTS))
    return network


def _load(network: nn.Module, path: Path) -> None:
    try:
        network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except (RuntimeError, OSError) as error:
        raise BundleError(f"{path}: {error}") from error
    network.eval()
