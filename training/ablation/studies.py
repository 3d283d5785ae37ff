"""Studies: which runs are compared in which tables, and what the paper found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.config import Architecture, TrainConfig
from training.crops import crop_rule
from training.presets import CRN, PIX2PIX


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    label: str
    run: str | None
    """The run that is scored; None = the real photographs, which no run can be told from."""
    published: tuple[float, float] | None = None
    """Pixel accuracy and mean IoU in the paper, 0..1."""


@dataclass(frozen=True)
class Table:
    """One comparison."""

    title: str
    rows: tuple[Row, ...]
    note: str = ""
    """What the paper says of it beside those scores."""


@dataclass(frozen=True)
class Study:
    """Runs that differ in what is compared alone, and the tables that they fill."""

    purpose: str
    runs: Mapping[str, Mapping[str, Any]]
    """Run -> settings that differ from the paper's method on label maps alone."""
    tables: tuple[Table, ...]


_OURS, _REAL = (0.8378, 0.6389), (0.8429, 0.6857)

STUDIES: Mapping[str, Study] = {
    "paper": Study(
        "the paper's comparisons: systems, generators, discriminators, instance maps",
        {
            "ours": {},
            "pix2pix": PIX2PIX,
            "crn": CRN,
            "unet": {"generator": "unet", "norm": "batch"},
            "cascade": {"generator": "cascade"},
            "single-scale": {"discriminator_scales": 1},
            "instance-maps": {"edges": True},
        },
        (
            Table(
                "Systems",
                (
                    Row("pix2pix", "pix2pix", (0.7834, 0.3948)),
                    Row("CRN", "crn", (0.7055, 0.3483)),
                    Row("ours", "ours", _OURS),
                    Row("real photographs", None, _REAL),
                ),
                "each with its own objective. The paper's raters preferred ours to pix2pix in "
                "93.8 % of pairs and to CRN in 86.2 %.",
            ),
            Table(
                "Generators under our objective",
                (
                    Row("U-Net of pix2pix", "unet", (0.7786, 0.3905)),
                    Row("CRN", "cascade", (0.7896, 0.3994)),
                    Row("ours", "ours", _OURS),
                ),
                "the same losses and discriminators for all. The paper's raters preferred ours "
                "to the U-Net in 80.0 % of pairs and to CRN in 76.6 %.",
            ),
            Table(
                "Discriminators",
                (
                    Row("single scale", "single-scale", (0.8287, 0.5775)),
                    Row("three scales", "ours", _OURS),
                ),
                "the paper's raters preferred several scales in 69.2 % of pairs.",
            ),
            Table(
                "Instance maps",
                (Row("without", "ours"), Row("with", "instance-maps")),
                "the paper has no scores for this; its raters, shown cars, preferred the ones "
                "made with instance maps in 64.34 % of pairs.",
            ),
        ),
    ),
    "losses": Study(
        "which term of the objective does what",
        {
            "ours": {},
            "no-perceptual": {"perceptual": 0.0},
            "no-matching": {"feature_matching": 0.0},
            "adversarial-alone": {"perceptual": 0.0, "feature_matching": 0.0},
        },
        (
            Table(
                "Losses",
                (
                    Row("adversarial alone", "adversarial-alone"),
                    Row("without the perceptual loss", "no-perceptual"),
                    Row("without feature matching", "no-matching"),
                    Row("all", "ours"),
                    Row("real photographs", None),
                ),
                "the paper has no scores for this; its raters preferred all terms to the "
                "adversarial one alone in 68.55 % of pairs, and to all but the perceptual one "
                "in 58.90 %.",
            ),
        ),
    ),
}


def run_configs(
    study: Study,
    data: Path,
    size: int,
    width: int,
    images: int,
    given: Mapping[str, Mapping[str, Any]],
) -> dict[str, TrainConfig]:
    """Settings of every run of a study, on crops of ``size`` pixels and ``images`` images each.

    ``width`` is that of our generator, 64 in the paper; the U-Net's and the discriminators' are
    the same, and the cascade's is 16 times as large, as published. Every network halves the size
    as often as published, and less often where ``size`` is small: the U-Net down to 1 pixel, the
    cascade to 4, our generator to 16. ``given[""]`` changes settings of all runs and
    ``given[RUN]`` those of one. Raises ValueError for a run that does not exist and for settings
    that mean nothing together.
    """
    unknown = sorted(set(given) - {"", *study.runs})
    if unknown:
        raise ValueError(f"no run {unknown[0]!r}; there are {', '.join(study.runs)}")
    configs = {}
    for name, differences in study.runs.items():
        architecture = differences.get("generator", "residual")
        settings: dict[str, Any] = {
            "images": images,
            "checkpoint_every": min(1_000, images),
            "crop": size,
            # Up to an eighth larger before it is cut, as pix2pix has 286 pixels for 256.
            "scale": (size, size + size // 8),
            "width": width * 16 if architecture == "cascade" else width,
            "downsamplings": _downsamplings(architecture, size),
            "blocks": 9,
            "discriminator_width": width,
            "discriminator_scales": 3,
            "styles": 0,
            "edges": False,
        }
        config = TrainConfig(
            str(data), **settings | dict(differences) | {**given.get("", {}), **given.get(name, {})}
        )
        if config.styles:
            raise ValueError(f"styles is {config.styles}; a study compares on maps alone, with 0")
        crop_rule(config)  # raises ValueError for a size that the networks don't take
        configs[name] = config
    return configs


def _downsamplings(architecture: Architecture, size: int) -> int:
    """How often a generator halves ``size``: as published for the sizes of the publications."""
    divisible = (size & -size).bit_length() - 1
    if architecture == "unet":
        return min(8, divisible)  # down to one pixel
    if architecture == "cascade":
        return min(size.bit_length() - 3, divisible)  # down to four
    return max(1, min(4, size.bit_length() - 5, divisible - 1))  # down to sixteen
