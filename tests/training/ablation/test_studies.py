"""Which settings the runs of a study have, and what their tables promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model.generator import build_generator
from training.ablation.studies import STUDIES, run_configs

PAPER = STUDIES["paper"]


def test_published_sizes_come_out() -> None:
    """At 256 pixels and full width the generators are those of the publications."""
    import torch

    configs = run_configs(PAPER, Path("d"), 256, 64, 1000, {})
    with torch.device("meta"):
        weights = {
            name: sum(p.numel() for p in build_generator(config.generator_spec(36)).parameters())
            for name, config in configs.items()
        }
    assert weights["unet"] == weights["pix2pix"] == 54_447_747
    assert weights["ours"] == 182_546_755
    # At 512 pixels the cascade has one module more, and 20 input channels as published.
    (cascade,) = {
        config.generator_spec(20)
        for name, config in run_configs(PAPER, Path("d"), 512, 64, 1, {}).items()
        if name == "cascade"
    }
    with torch.device("meta"):
        assert sum(p.numel() for p in build_generator(cascade).parameters()) == 98_622_851


def test_runs_differ_in_what_is_compared_alone() -> None:
    """One budget and one kind of input; objectives as published or ours."""
    configs = run_configs(PAPER, Path("d"), 64, 8, 50, {})
    assert {c.images for c in configs.values()} == {50}
    assert [n for n, c in configs.items() if c.edges] == ["instance-maps"]
    assert {c.styles for c in configs.values()} == {0}
    single = {name for name, config in configs.items() if config.discriminator_scales == 1}
    assert single == {"pix2pix", "single-scale"}
    ours, unet = configs["ours"], configs["unet"]
    assert (unet.generator, unet.downsamplings, unet.norm) == ("unet", 6, "batch")
    for name in ("gan", "feature_matching", "perceptual", "l1", "learning_rate", "batch"):
        assert getattr(unet, name) == getattr(ours, name)
    assert (configs["crn"].adversarial, configs["pix2pix"].l1) == (0, 100)


def test_settings_reach_all_runs_or_one() -> None:
    """A run's own setting stands above those of all, and those above the study's."""
    given: dict[str, dict[str, Any]] = {
        "": {"batch": 2, "learning_rate": 1e-3},
        "crn": {"batch": 1, "width": 32},
    }
    configs = run_configs(PAPER, Path("d"), 64, 8, 50, given)
    assert (configs["ours"].batch, configs["crn"].batch) == (2, 1)
    assert (configs["crn"].width, configs["cascade"].width) == (32, 128)
    assert configs["crn"].learning_rate == 1e-3


def test_what_cannot_be_compared_is_refused() -> None:
    """Unknown runs, styles, and sizes that no network takes."""
    with pytest.raises(ValueError, match="no run 'spade'; there are ours, pix2pix"):
        run_configs(PAPER, Path("d"), 64, 8, 50, {"spade": {}})
    with pytest.raises(ValueError, match="styles is 3"):
        run_configs(PAPER, Path("d"), 64, 8, 50, {"": {"styles": 3}})
    with pytest.raises(ValueError, match="crop 100 is not a multiple"):
        run_configs(PAPER, Path("d"), 100, 8, 50, {"ours": {"downsamplings": 4}})


@pytest.mark.parametrize("name", STUDIES)
def test_tables_show_runs_that_exist(name: str) -> None:
    """Every row is a run or the real photographs, and every run is shown."""
    study = STUDIES[name]
    shown = {row.run for table in study.tables for row in table.rows if row.run}
    assert shown == set(study.runs)
