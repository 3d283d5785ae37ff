from __future__ import annotations

import pytest

from training.config import TrainConfig, parse_setting
from training.presets import PRESETS, resolve


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_valid_run(name: str) -> None:
    """Its settings exist and fit each other."""
    config = resolve("data", name, 1.0, {})
    assert config.data == "data"
    assert config != TrainConfig("data")


def test_presets_follow_the_paper() -> None:
    """The first stage's generator fits into the second one's, which is half as wide."""
    first, second = (resolve("d", name, 1.0, {}) for name in ("global-512p", "local-1024p"))
    assert (first.width, first.downsamplings, first.blocks) == (64, 4, 9)
    assert (second.width * 2, second.downsamplings, second.blocks) == (64, 4, 9)
    assert (second.enhancers, second.enhancer_blocks, second.discriminator_scales) == (1, 3, 3)
    assert second.enhancer_alone * 10 == second.images


def test_a_budget_multiplies_lengths_alone() -> None:
    """Everything that counts images over the run grows with it, and what is given stays."""
    whole, half = (resolve("d", "local-1024p", budget, {}) for budget in (1.0, 0.5))
    assert (half.images, half.enhancer_alone) == (whole.images // 2, whole.enhancer_alone // 2)
    assert half.checkpoint_every == whole.checkpoint_every
    assert resolve("d", "facades", 0.5, {"images": 77}).images == 77


def test_given_settings_override_a_preset() -> None:
    """The rest of the recipe stays."""
    config = resolve("d", "facades", 1.0, {"batch": 1, "norm": "instance"})
    assert (config.batch, config.norm, config.colour) == (1, "instance", 40.0)


def test_unknown_presets_and_budgets_are_refused() -> None:
    """The error lists what there is."""
    with pytest.raises(ValueError, match=r"no preset 'faces'; there are global-512p, .*facades"):
        resolve("d", "faces", 1.0, {})
    with pytest.raises(ValueError, match="budget is 0"):
        resolve("d", None, 0, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("images=5", ("images", 5)),
        ("discriminator-width=8", ("discriminator_width", 8)),
        ("scale=64, 96", ("scale", (64, 96))),
        ("freeze_norms=yes", ("freeze_norms", True)),
        ("gan=hinge", ("gan", "hinge")),
        ("decay=0.25", ("decay", 0.25)),
        ("init=runs/1", ("init", "runs/1")),
    ],
)
def test_any_setting_can_be_written_as_text(text: str, expected: tuple[str, object]) -> None:
    """Values are read by their kind."""
    assert parse_setting(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data=x", "no setting 'data'; there are images"),
        ("colour=red", "colour can't be 'red'"),
        ("freeze_norms=maybe", "write true or false"),
        ("scale=64", "scale can't be '64'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(text: str, words: str) -> None:
    """The error says which setting and what is wrong with it."""
    with pytest.raises(ValueError, match=words):
        parse_setting(text)


@pytest.mark.parametrize("name", ["images", "batch", "checkpoint_every"])
def test_counts_are_positive(name: str) -> None:
    """Zero images, or a checkpoint every zero images, is a mistake."""
    with pytest.raises(ValueError, match=f"{name} is 0"):
        TrainConfig("d", **{name: 0})  # type: ignore[arg-type]
