"""``hdsynth evaluate``: scores for a model card, and the segmenters that judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import FILE

if TYPE_CHECKING:
    from training.evaluation.report import Scores

EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
EXISTING_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


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
@click.option("--segmenter",
              help="Judge: a .safetensors file of 'hdsynth train-segmenter', an .onnx file, or a "
              "Hugging Face model id.")  # fmt: skip
@click.option("--void", type=int, multiple=True, help="Class to leave out; may be repeated.")
@click.option("--other-styles", type=EXISTING_FOLDER, multiple=True,
              help="Folder with the same scenes in other styles, for the diversity; may be "
              "repeated.")  # fmt: skip
@click.option("--inception", type=EXISTING_FILE,
              help="inception-2015-12-05.pt, for FID and KID.")  # fmt: skip
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1 ...")
@click.option("-o", "--output", type=FILE, help="Also write the scores here (JSON).")
@click.option("--report", type=FILE, help="Also write a page with pictures here (HTML).")
def evaluate(
    photos: Path, data: Path, weights: Path, size: int, segmenter: str | None,
    void: tuple[int, ...], other_styles: tuple[Path, ...], inception: Path | None, device: str,
    output: Path | None, report: Path | None,
) -> None:  # fmt: skip
    """Score the photographs PHOTOS/NAME.png against the real ones of the data set DATA.

    LPIPS (AlexNet), a Frechet distance on AlexNet features (not FID), and with a segmenter how
    well the labels are found again, as a ratio to what it finds in the real photographs. With
    instance maps, how much of the instances' borders shows.
    """
    from training.evaluation.report import score_folder

    scores = score_folder(
        photos, data, weights, segmenter, size, void, device,
        other_styles=other_styles, inception=inception, page=report,
    )  # fmt: skip
    if output:
        scores.save(output)
    click.echo(_summary(scores))
    for path in filter(None, (output, report)):
        click.echo(f"wrote {path}", err=True)


def _summary(scores: Scores) -> str:
    lines = [
        f"{scores.images} photographs at {scores.size} pixels",
        f"LPIPS (AlexNet)                   {scores.lpips_alex:8.3f}",
        f"Frechet distance, AlexNet relu5   {scores.frechet_distance_alexnet_relu5:8.2f}",
    ]
    if scores.inception:
        lines.append(f"FID                               {scores.inception.fid:8.2f}")
        lines.append(f"KID                               {scores.inception.kid:8.4f}")
    else:
        lines.append("FID, KID                          not measured: give --inception FILE")
    if scores.diversity_lpips_alex is not None:
        lines.append(f"diversity, LPIPS between styles   {scores.diversity_lpips_alex:8.3f}")
    for words, found in (
        ("void left out", scores.segmentation_void_excluded),
        ("all pixels", scores.segmentation_raw),
    ):
        if found:
            for measure in ("pixel_accuracy", "mean_iou"):
                ours, real, ratio = (
                    getattr(score, measure)
                    for score in (found.synthesised, found.real, found.ratio)
                )
                name = f"{measure.replace('_', ' ').replace('iou', 'IoU')}, {words}"
                lines.append(f"{name:34}{ours:8.3f}   real {real:.3f}   ratio {ratio:.3f}")
    if scores.boundaries:
        ours, real = scores.boundaries.synthesised, scores.boundaries.real
        lines.append(f"borders near a strong gradient    {ours.found:8.3f}   real "
                     f"{real.found:.3f}   by chance {ours.chance:.3f}")  # fmt: skip
    return "\n".join(lines)


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
    from training.evaluation.segmenter import SegmenterConfig
    from training.evaluation.segmenter import train_segmenter as run

    run(SegmenterConfig(str(data), steps), weights, output)


@click.command("export-segmenter")
@click.argument("segmenter", type=EXISTING_FILE)
@click.option("-o", "--output", type=FILE, required=True, help="File to write (.onnx).")
@click.option("--size", type=click.IntRange(32), default=256, show_default=True,
              help="Shorter side in pixels at which photographs are judged.")  # fmt: skip
@click.option("--void", type=int, multiple=True,
              help="Class that faithfulness leaves out; may be repeated.")  # fmt: skip
def export_segmenter(segmenter: Path, output: Path, size: int, void: tuple[int, ...]) -> None:
    """Write SEGMENTER, made by 'hdsynth train-segmenter', as ONNX for 'hdsynth serve --judge'."""
    from training.evaluation.segmenter_onnx import export_segmenter as run

    made = run(segmenter, output, size, void)
    click.echo(f"{output}: {len(made.classes)} classes, judges at {size} pixels")
