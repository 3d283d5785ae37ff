"""Bundles of the published sizes with random weights: as fast as trained ones, and soon made."""

from __future__ import annotations

from pathlib import Path

import torch

from model.bundle import Bundle
from model.checkpoint import write_weights
from model.classes import Classes, distinct_colours
from model.generator import build_generator
from model.layers import init_weights
from model.spec import GeneratorSpec, InputSpec

LABELS = 35
"""Classes of the published models: those of Cityscapes."""

_INPUT = InputSpec(LABELS, edges=True)
PUBLISHED: dict[str, tuple[GeneratorSpec, tuple[int, int]]] = {
    "global-1024x512": (GeneratorSpec("global", _INPUT.channels), (1024, 512)),
    "local-2048x1024": (
        GeneratorSpec("local", _INPUT.channels, width=32, enhancers=1, enhancer_blocks=3),
        (2048, 1024),
    ),
}
"""Name -> network and the width and height that it is made for; paper, section 3.2."""


def write_random_bundle(folder: Path, kind: str, seed: int = 0) -> Bundle:
    """Write a bundle of a ``PUBLISHED`` kind with freshly initialised weights and no engines.

    Raises BundleError when ``folder`` holds anything.
    """
    generator, size = PUBLISHED[kind]
    return write_random_weights(folder, f"random-{kind}", _INPUT, generator, size, seed)


def write_random_weights(
    folder: Path,
    name: str,
    spec: InputSpec,
    generator: GeneratorSpec,
    size: tuple[int, int],
    seed: int = 0,
) -> Bundle:
    """Write a bundle of any model without styles; ``size`` is the width and height it is for."""
    bundle = Bundle(
        name=name,
        input=spec,
        generator=generator,
        classes=Classes(
            tuple(f"class-{label}" for label in range(spec.label_count)),
            tuple(distinct_colours(spec.label_count)),
        ),
        trained_size=size,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_generator(generator).apply(init_weights)
    card = f"# {name}\n\nRandom weights, to measure with; its photographs show nothing.\n"
    return write_weights(bundle, folder, network, None, card)
