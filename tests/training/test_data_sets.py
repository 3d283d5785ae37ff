"""Every public data set, from its release to photographs of a model trained on it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from click import Command
from click.testing import CliRunner
from PIL import Image

from cli.data import data
from cli.synthesize import synthesize
from export.build import add_engines
from tests.training.releases import RELEASES
from training.config import TrainConfig
from training.finish import write_bundle
from training.loop import train

TINY = TrainConfig(
    data="", images=4, batch=2, crop=32, scale=(32, 32), width=4, downsamplings=1, blocks=1,
    discriminator_width=4, perceptual=0.0, workers=0, device="cpu",
)  # fmt: skip


def run(command: Command, *arguments: str | Path) -> str:
    """Run a command in this process; returns what it printed."""
    done = CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("name", RELEASES)
def test_release_to_photographs(name: str, tmp_path: Path) -> None:
    """Prepare, check, train, export and synthesise: a photograph for every validation map."""
    release = RELEASES[name](tmp_path / "release")
    prepared, model = tmp_path / "prepared", tmp_path / "bundle"
    run(data, "prepare", name, release, prepared, "--size", "32")
    for split in ("train", "val"):
        assert "0 problems" in run(data, "check", prepared / split)
    # Styles of instances, of a whole picture, and none: exporting a model with styles takes longer.
    config = dataclasses.replace(
        TINY,
        data=str(prepared / "train"),
        styles=3 if name in {"cityscapes", "celeba-hq"} else 0,
        norm="batch" if name == "celeba-hq" else "instance",
    )
    write_bundle(train(config, tmp_path / "run"), config, model, name)
    bundle = add_engines(model, precisions=("float32",), sizes=((32, 32),))
    # CelebA-HQ has no labels: its model starts from drawings of edges.
    assert (bundle.input.label_count == 0) == (name == "celeba-hq")
    assert bool(bundle.styles) == bool(config.styles)
    photos = tmp_path / "photos"
    run(synthesize, prepared / "val", "-o", photos, "--model", model, "--sheet", tmp_path / "s.png")
    real = sorted((prepared / "val" / "image").iterdir())
    assert [path.stem for path in sorted(photos.iterdir())] == [path.stem for path in real]
    for path in real:
        with Image.open(path) as wanted, Image.open(photos / f"{path.stem}.png") as made:
            assert made.size == wanted.size
            assert len(np.unique(np.asarray(made))) > 1
