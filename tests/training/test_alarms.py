from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from training.alarms import collapse_alarm, discriminator_alarm
from training.config import Gan, TrainConfig
from training.loop import train
from training.state import CHECKPOINT


def photographs(contrast: float) -> np.ndarray:
    """Six noise images (6, 8, 8, 3) around middle grey."""
    noise = np.random.default_rng(0).uniform(-127, 127, (6, 8, 8, 3))
    return (128 + contrast * noise).astype(np.uint8)


@pytest.mark.parametrize(
    ("gan", "undecided"), [("lsgan", 0.25), ("hinge", 1.0), ("vanilla", 0.693)]
)
def test_only_a_discriminator_that_is_nearly_never_wrong_has_won(
    gan: Gan, undecided: float
) -> None:
    """Undecided or somewhat better is healthy; a loss near zero on all scales is not."""
    assert discriminator_alarm(2 * undecided, gan, scales=2) is None
    assert discriminator_alarm(0.4 * undecided, gan, scales=2) is None
    alarm = discriminator_alarm(0.02 * undecided, gan, scales=2)
    assert alarm is not None
    assert "discriminator has won" in alarm
    assert "--set discriminator_width" in alarm


def test_images_that_are_all_alike_mean_collapse() -> None:
    """One picture for every label map, however rich it is; low contrast alone isn't collapse."""
    reals = photographs(1.0)
    assert collapse_alarm(photographs(0.3), reals) is None
    alarm = collapse_alarm(np.repeat(reals[:1], 6, axis=0), reals)
    assert alarm is not None
    assert "deviates by 0.00 levels" in alarm


def test_one_example_proves_no_collapse() -> None:
    """A data set of a single photograph can't vary."""
    assert collapse_alarm(photographs(0.0)[:1], photographs(1.0)[:1]) is None


def test_a_collapsed_run_says_so(
    pairs_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A generator whose weights died is reported at every checkpoint, and the run goes on."""
    config = TrainConfig(
        data=str(pairs_folder), images=4, batch=2, crop=32, scale=(32, 48), width=4,
        downsamplings=2, blocks=1, discriminator_width=4, workers=0, checkpoint_every=2,
        device="cpu", perceptual=0, learning_rate=0.0,
    )  # fmt: skip
    train(config, tmp_path / "healthy")
    with safetensors.safe_open(tmp_path / "healthy" / CHECKPOINT, "pt") as saved:
        metadata = saved.metadata()
        tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
    for name, tensor in tensors.items():
        if ".generator." in name:
            tensor.zero_()
    (tmp_path / "dead").mkdir()
    safetensors.torch.save_file(tensors, tmp_path / "dead" / CHECKPOINT, metadata)
    assert torch.count_nonzero(tensors["averaged.generator.model.1.weight"]) == 0
    caplog.clear()
    with caplog.at_level(logging.WARNING, "training.loop"):
        config_of_rest = TrainConfig(**{**vars(config), "images": 8})
        train(config_of_rest, tmp_path / "dead")
    collapses = [m for m in caplog.messages if "generator has collapsed" in m]
    assert [m.partition(":")[0] for m in collapses] == ["after 6 images", "after 8 images"]
