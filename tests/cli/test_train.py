"""``hdsynth train``: few options, a plan before the run, and any other setting by name."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli.train import train
from model.scenes import CLASSES, draw_scene

FLAGS = {
    "--output", "--name", "--preset", "--budget", "--set", "--dry-run", "--threads", "--images",
    "--batch", "--crop", "--scale", "--resize", "--width", "--downsamplings", "--blocks",
    "--enhancers", "--styles", "--norm", "--perceptual", "--perceptual-network",
    "--perceptual-weights", "--learning-rate", "--init", "--precision", "--compile", "--seed",
    "--checkpoint-every", "--workers", "--device", "--help",
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A training folder of one pair."""
    folder = tmp_path / "data"
    for kind in ("label", "image"):
        (folder / kind).mkdir(parents=True)
    Image.fromarray(draw_scene(80, 64, 0).label).save(folder / "label" / "a.png")
    Image.new("RGB", (80, 64), "red").save(folder / "image" / "a.png")
    (folder / "classes.json").write_text(json.dumps({"classes": CLASSES}))
    return folder


def run(data: Path, *arguments: str) -> Result:
    """Call the command with RUN beside the data."""
    return CliRunner().invoke(train, [str(data), "-o", str(data.parent / "run"), *arguments])


def test_the_options_are_these() -> None:
    """Thirty at most; every other setting goes through --set and is listed in the help."""
    options = {
        flag
        for parameter in train.get_params(click.Context(train))
        for flag in parameter.opts
        if flag.startswith("--")
    }
    assert options == FLAGS
    assert len(FLAGS) == 30
    text = CliRunner().invoke(train, ["--help"]).output
    for words in ("local-1024p", "style_colour", "discriminator_scales", "checkpoint_blocks"):
        assert words in text


def test_a_dry_run_prints_the_plan_and_writes_nothing(data: Path) -> None:
    """Settings from preset, budget and options, numbers of weights, and memory."""
    done = run(
        data, "--dry-run", "--preset", "facades", "--budget", "0.5", "--width", "8", "--crop",
        "32", "--scale", "32", "48", "--set", "gan=hinge", "--set", "batch=2",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    settings, _, report = done.stdout.partition("\n}\n")
    config = json.loads(settings + "}")
    assert (config["images"], config["width"], config["gan"]) == (10_000, 8, "hinge")
    assert (config["batch"], config["norm"], config["scale"]) == (2, "batch", [32, 48])
    for words in ("generator: ", "discriminator: ", "memory, activations: ", "estimate"):
        assert words in report
    assert not (data.parent / "run").exists()


def test_what_is_not_given_stays_the_presets(data: Path) -> None:
    """An option's default is no wish, not even when it is the preset's opposite."""
    done = run(data, "--dry-run", "--preset", "facades", "--crop", "32", "--scale", "32", "48")
    config = json.loads(done.stdout.partition("\n}\n")[0] + "}")
    assert (config["norm"], config["batch"], config["learning_rate"]) == ("batch", 4, 4e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "faces"], "no preset 'faces'"),
        (["--set", "blocks"], "blocks can't be ''"),
        (["--set", "speed=3"], "no setting 'speed'"),
        (["--precision", "float8"], "float8"),
    ],
)
def test_settings_that_do_not_exist_are_refused(
    data: Path, arguments: list[str], words: str
) -> None:
    """Before anything is read or written."""
    done = run(data, *arguments)
    assert done.exit_code != 0
    assert words in str(done.exception) + done.output
    assert not (data.parent / "run").exists()
