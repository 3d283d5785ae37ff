"""Named recipes: settings that belong together, for ``hdsynth train --preset``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.config import TrainConfig


@dataclass(frozen=True)
class Preset:
    """Settings that differ from ``TrainConfig``'s defaults."""

    purpose: str
    settings: Mapping[str, Any]


# The method's own networks, and Adam at 2e-4 with batches of one, as in the paper.
_PUBLISHED = {"width": 64, "downsamplings": 4, "blocks": 9, "discriminator_width": 64}

PIX2PIX: Mapping[str, Any] = {
    "generator": "unet", "norm": "batch", "discriminator_norm": "batch",
    "discriminator_padding": 1, "discriminator_scales": 1, "gan": "vanilla", "l1": 100.0,
    "feature_matching": 0.0, "perceptual": 0.0, "styles": 0, "edges": False,
}  # fmt: skip
"""The first baseline with its own objective (Isola et al., CVPR 2017): cross-entropy and L1."""

CRN: Mapping[str, Any] = {
    "generator": "cascade", "adversarial": 0.0, "feature_matching": 0.0, "perceptual": 1.0,
    "perceptual_network": "crn", "learning_rate": 1e-4, "decay": 0.0, "styles": 0,
    "edges": False,
}  # fmt: skip
"""The second baseline with its own objective (Chen and Koltun, ICCV 2017): nobody judges."""

PRESETS: Mapping[str, Preset] = {
    "global-512p": Preset(
        "the published generator on whole photographs 1024 pixels wide; 200 rounds over the 2,975 "
        "of Cityscapes",
        {
            **_PUBLISHED, "resize": "scale_width", "scale": (1024, 1024), "images": 595_000,
            "decay": 0.5,
        },
    ),
    "local-1024p": Preset(
        "its second stage at full resolution: with --init RUN of a finished global-512p, 10 rounds "
        "for the enhancer alone and 90 for all",
        {
            **_PUBLISHED, "width": 32, "enhancers": 1, "enhancer_blocks": 3,
            "discriminator_scales": 3, "resize": "none", "images": 297_500,
            "enhancer_alone": 29_750, "decay": 0.5,
        },
    ),
    "edges": Preset(
        "edges to photographs of 512x512 (a data set with source/, such as CelebA-HQ); 20 rounds "
        "over 30,000",
        {
            **_PUBLISHED, "styles": 0, "crop": 512, "scale": (512, 512),
            "resize": "resize_and_crop", "images": 600_000,
        },
    ),
    "pix2pix": Preset(
        "the paper's first baseline: U-Net, one 70x70 discriminator, L1; 256x256, 200 rounds over "
        "the 2,975 of Cityscapes",
        {
            **PIX2PIX, "width": 64, "downsamplings": 8, "discriminator_width": 64, "crop": 256,
            "scale": (286, 286), "images": 595_000, "decay": 0.5,
        },
    ),
    "crn": Preset(
        "its second baseline: cascaded refinement with a perceptual loss of its own and no "
        "discriminator; photographs 1024 pixels wide, 200 rounds over the 2,975 of Cityscapes",
        {
            **CRN, "width": 1024, "downsamplings": 7, "resize": "scale_width",
            "scale": (1024, 1024), "images": 595_000,
        },
    ),
    "facades": Preset(
        "a small generator with styles for some hundred photographs of facades at 256x256, on a "
        "CPU or any GPU",
        {
            "width": 32, "downsamplings": 3, "blocks": 6, "norm": "batch", "batch": 4,
            "crop": 256, "scale": (256, 384), "images": 20_000, "decay": 0.4,
            "learning_rate": 4e-4, "perceptual_network": "squeezenet", "colour": 40.0,
            "style_colour": 20.0, "ema_images": 1_000,
        },
    ),
}  # fmt: skip

LENGTHS = ("images", "enhancer_alone", "ema_images")
"""What a budget multiplies."""


def resolve(data: str, preset: str | None, budget: float, given: Mapping[str, Any]) -> TrainConfig:
    """Combine defaults, a preset, the budget and settings ``given`` by name, the last on top.

    The budget multiplies the lengths of the preset, or of the defaults; a length that is given
    counts as it is. Raises ValueError for an unknown preset or a budget that is not positive.
    """
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
    if not budget > 0:
        raise ValueError(f"budget is {budget}; it multiplies the length, so give more than 0")
    base = TrainConfig(data, **(PRESETS[preset].settings if preset else {}))
    scaled = {name: round(getattr(base, name) * budget) for name in LENGTHS}
    scaled["images"] = max(1, scaled["images"])
    return dataclasses.replace(base, **{**scaled, **given})
