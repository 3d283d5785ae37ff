"""``hdsynth evaluate``: scores for a model card."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cli.options import FILE

EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.argument("photos", type=EXISTING_FOLDER)
@click.argument("data", type=EXISTING_FOLDER)
@click.option(
    "--weights",
    type=EXISTING_FOLDER,
    required=True,
    help="Folder with alexnet_torchvision_features.pth and lpips_v0.1_alex_heads.pth.",
)
@click.option("--size", type=click.IntRange(32), default=256, show_default=True,
              help="Shorter side in pixels at which everything is compared.")  # fmt: skip
@click.option("--segmenter", type=FILE, help="Segmenter made by 'hdsynth train-segmenter'.")
@click.option("--void", type=int, multiple=True, help="Class to leave out; may be repeated.")
@click.option("-o", "--output", type=FILE, help="Also write the scores here (JSON).")
def evaluate(
    photos: Path, data: Path, weights: Path, size: int, segmenter: Path | None,
    void: tuple[int, ...], output: Path | None,
) -> None:  # fmt: skip
    """Score the photographs PHOTOS/NAME.png against the real ones of the data set DATA.

    LPIPS (AlexNet), a Frechet distance on AlexNet features (not FID), and with a segmenter how
    well the labels are found again, as a ratio to what it finds in the real photographs.
    """
    import dataclasses

    from training.evaluation.report import score_folder

    scores = score_folder(photos, data, weights, segmenter, size, void)
    if output:
        scores.save(output)
    click.echo(json.dumps(dataclasses.asdict(scores), indent=2))


@click.command("train-segmenter")
@click.argument("data", type=EXISTING_FOLDER)
@click.option("--weights", type=EXISTING_FOLDER, required=True,
              help="Folder with alexnet_torchvision_features.pth.")  # fmt: skip
@click.option("-o", "--output", type=FILE, required=True, help="File to write (.safetensors).")
@click.option("--steps", type=click.IntRange(1), default=2500, show_default=True,
              help="Training steps of 4 crops.")  # fmt: skip
def train_segmenter(data: Path, weights: Path, output: Path, steps: int) -> None:
    """Train the judge of 'hdsynth evaluate' on the real photographs of DATA.

    The same command resumes.
    """
    from tqdm import tqdm

    from training.evaluation.segmenter import SegmenterConfig
    from training.evaluation.segmenter import train_segmenter as run

    with tqdm(total=steps, unit="step", dynamic_ncols=True) as bar:

        def progress(done: int, loss: float) -> None:
            bar.update(done - bar.n)
            bar.set_postfix(loss=f"{loss:.3f}")

        run(SegmenterConfig(str(data), steps), weights, output, on_step=progress)
