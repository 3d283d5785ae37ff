"""``hdsynth sample``: scenes to try a model on."""

from __future__ import annotations

from pathlib import Path

import click

from cli.options import FOLDER, Size


@click.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "--count", type=click.IntRange(1), default=8, show_default=True, help="Scenes to draw."
)
@click.option("--size", type=Size(), default="512x512", show_default=True, help="Size in pixels.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Scene k is drawn from seed + k."
)
def sample(folder: Path, count: int, size: tuple[int, int], seed: int) -> None:
    """Draw street facades: FOLDER/label/NAME.png and FOLDER/instance/NAME.png.

    The same seed draws the same scenes everywhere.
    """
    from tqdm import tqdm

    from model.scenes import write_scenes

    scenes = write_scenes(folder, count, *size, seed)
    for _ in tqdm(scenes, total=count, unit="scene", dynamic_ncols=True):
        pass
    click.echo(f"{count} scenes in {folder}", err=True)
