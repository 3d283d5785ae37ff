"""``hdsynth ablate``: the paper's comparisons on a data set of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.options import FOLDER

EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.argument("data", type=EXISTING_FOLDER)
@click.option("-o", "--output", type=FOLDER, required=True,
              help="Folder of the study; an existing one goes on.")  # fmt: skip
@click.option("--preset", default="paper", show_default=True,
              help="paper: systems, generators, discriminators, instance maps. losses: which term "
              "of the objective does what.")  # fmt: skip
@click.option("--weights", type=EXISTING_FOLDER, required=True,
              help="Folder with alexnet_torchvision_features.pth and lpips_v0.1_alex_heads.pth, "
              "for the scores.")  # fmt: skip
@click.option("--segmenter",
              help="Judge, as for 'hdsynth evaluate'.  [default: train one first]")  # fmt: skip
@click.option("--segmenter-steps", type=click.IntRange(1), default=2_500, show_default=True,
              help="Length of that training.")  # fmt: skip
@click.option("--images", type=click.IntRange(1), default=100_000, show_default=True,
              help="Budget: how many images every run sees.")  # fmt: skip
@click.option("--size", type=click.IntRange(32), default=256, show_default=True,
              help="Side of the crops, shorter side of the test photographs.")  # fmt: skip
@click.option("--width", type=click.IntRange(1), default=64, show_default=True,
              help="Channels of our generator, 64 as published; the others' follow.")  # fmt: skip
@click.option("--set", "others", multiple=True, metavar="[RUN:]NAME=VALUE",
              help="Setting of 'hdsynth train' for all runs or one; may be repeated.")  # fmt: skip
@click.option("--maps", type=EXISTING_FOLDER,
              help="Also show what the runs make of these maps (label/, instance/).")  # fmt: skip
@click.option("--device", "devices", multiple=True,
              help="Where to run, such as cuda:1; one run at a time on each.  [default: every "
              "GPU, or cpu]")  # fmt: skip
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads of a run; 0 = all.")
def ablate(
    data: Path, output: Path, others: tuple[str, ...], devices: tuple[str, ...], threads: int,
    **plan: Any,
) -> None:  # fmt: skip
    """Compare systems, generators, discriminators and inputs on DATA, as the paper does.

    DATA holds train/ and val/, as 'hdsynth data prepare' writes them. Every run sees equally many
    images of train/ and is scored on val/. Prints the paper's tables beside ours, and writes
    tables.md, tables.json and sheet.png. Stop with Ctrl-C at any time; the same command goes on.
    """
    from training.ablation.study import TABLES, StudyPlan, run_study

    whole = run_study(
        StudyPlan(data=data, output=output, **plan), read_settings(others), devices, threads
    )
    if (output / TABLES).exists():
        click.echo((output / TABLES).read_text(encoding="utf-8"))
    if not whole:
        click.echo("stopped before the end; the same command goes on", err=True)


def read_settings(texts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Read ``[RUN:]NAME=VALUE`` for every run ("") or for one; raises ValueError."""
    from training.config import parse_setting

    given: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        run, _, setting = name.rpartition(":")
        key, parsed = parse_setting(f"{setting}{equals}{value}")
        given.setdefault(run.strip(), {})[key] = parsed
    return given
