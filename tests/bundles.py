"""Small random-weight bundles for tests that need a model but not a good one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from export.build import add_onnx_engine
from model.bundle import Bundle
from model.checkpoint import write_weights
from model.classes import Classes
from model.encoder import Encoder
from model.generator import build_generator
from model.layers import init_weights
from model.scenes import CLASSES, PALETTE
from model.spec import EncoderSpec, GeneratorSpec, InputSpec


def build_tiny_bundle(folder: Path, styles: int = 3, seed: int = 0) -> Bundle:
    """Write a bundle for the sample scenes' classes with random weights and an ONNX engine."""
    torch.manual_seed(seed)
    spec = InputSpec(len(CLASSES), edges=True, style_channels=styles)
    network = GeneratorSpec("global", spec.channels, width=4, downsamplings=2, blocks=1)
    encoder = EncoderSpec(output_channels=styles, width=4, downsamplings=2) if styles else None
    draws = np.random.default_rng(seed)
    bundle = Bundle(
        name="tiny",
        input=spec,
        generator=network,
        encoder=encoder,
        classes=Classes(CLASSES, PALETTE),
        styles={
            label: draws.uniform(-1, 1, (4, styles)).astype(np.float32)
            for label in range(1, len(CLASSES))
        }
        if styles
        else {},
    )
    # Strong weights, so that a changed input visibly changes the photograph.
    generator = build_generator(network).apply(init_weights)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(8)
    trained_encoder = Encoder(encoder).apply(init_weights) if encoder else None
    card = "# tiny\n\nRandom weights for tests.\n"
    write_weights(bundle, folder, generator, trained_encoder, card)
    return add_onnx_engine(folder)
