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
    """Measure flicker on films of drawn scenes, with and without the blending of steady streams.

    Flicker is the mean change of a colour value, in grey levels of 255, between frames where the
    same object is seen, along its motion.
    """
    from service.backends import load_engine
    from service.bench_flicker import bench_flicker as measure
    from service.bench_flicker import markdown
    from service.synthesizer import Synthesizer

    bundle = open_bundle(model)
    engine = load_engine(bundle, backend)
    rows = measure(Synthesizer(bundle, engine), size, frames, scenes)
    about = (
        f"{bundle.name} on {engine.name}, {size[0]}x{size[1]}, {scenes} drawn scenes of {frames} "
        "frames; grey levels of 255."
    )
    table = markdown(rows, about)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(table, encoding="utf-8")
    click.echo(table)
