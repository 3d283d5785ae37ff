"""``hdsynth bench flicker``: how steady are a model's photographs, and what makes them steadier?"""

from __future__ import annotations

from pathlib import Path

import click

from cli.options import FILE, Size, model_option, open_bundle


@click.command("flicker")
@model_option
@click.option("--backend", default="onnx", show_default=True, help="Engine that runs the model.")
@click.option("--size", type=Size(), default="512x256", show_default=True)
@click.option("--frames", type=click.IntRange(4), default=12, show_default=True)
@click.option("--scenes", type=click.IntRange(1), default=4, show_default=True)
@click.option("-o", "--output", type=FILE, help="Also write the table here (Markdown).")
def bench_flicker(
    model: Path | None, backend: str, size: tuple[int, int], frames: int, scenes: int,
    output: Path | None,
) -> None:  # fmt: skip
    """Measure flicker on films of drawn scenes, and what steady streams do against it.

    Flicker is the mean change of a colour value, in grey levels of 255, between frames where the
    same object is seen, along its motion. A second table tells how far regions that are synthesised
    alone are from the whole photograph. The backend onnx-frozen shows both with frozen statistics.
    """
    from service.backends import load_engine
    from service.bench_flicker import bench_flicker as measure
    from service.bench_flicker import markdown
    from service.bench_seam import bench_seam, region_side
    from service.bench_seam import markdown as seam_table
    from service.synthesizer import Synthesizer

    bundle = open_bundle(model)
    engine = load_engine(bundle, backend)
    synthesizer, can_freeze = Synthesizer(bundle, engine), backend == "onnx-frozen"
    rows = measure(synthesizer, size, frames, scenes, can_freeze=can_freeze)
    seams = bench_seam(synthesizer, size, scenes, can_freeze=can_freeze)
    about = (
        f"{bundle.name} on {engine.name}, {size[0]}x{size[1]}, {scenes} drawn scenes of {frames} "
        "frames; grey levels of 255."
    )
    seam_about = (
        f"Regions {region_side(size)} pixels wide and high in {scenes} of those scenes, compared "
        "with the same pixels of the whole photograph."
    )
    table = markdown(rows, about) + "\n" + seam_table(seams, seam_about)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(table, encoding="utf-8")
    click.echo(table)
