"""``hdsynth bench``: how fast is it here?"""

from __future__ import annotations

from pathlib import Path

import click

from cli.bench_engine import bench_engine
from cli.bench_flicker import bench_flicker
from cli.bench_serve import bench_serve
from cli.bench_stream import bench_stream
from cli.bench_train import bench_train
from cli.options import FILE, Size, model_option, open_bundle


@click.group()
def bench() -> None:
    """Measure on this machine; run it while nothing else does.

    What is compared takes turns in one run, and the tables say on what they were made.
    """


for command in (bench_engine, bench_train, bench_serve, bench_stream, bench_flicker):
    bench.add_command(command)


@bench.command("encoders")
@model_option
@click.option("--size", type=Size(), default="2048x1024", show_default=True,
              help="Size of the photograph.")  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=20, show_default=True, help="Runs of each.")
@click.option("-o", "--output", type=FILE, help="Also write the table here (Markdown).")
def bench_encoders(
    model: Path | None, size: tuple[int, int], runs: int, output: Path | None
) -> None:
    """Time PNG, JPEG and WebP on a photograph that the model makes."""
    from model.scenes import draw_scene
    from service.backends import load_engine
    from service.bench import markdown, time_encoders
    from service.synthesizer import Synthesizer

    bundle = open_bundle(model)
    synthesizer = Synthesizer(bundle, load_engine(bundle))
    drawn = draw_scene(*size, seed=1)
    (photo,) = synthesizer.run([synthesizer.prepare(drawn.label, drawn.instance)])
    table = markdown("Times of the image encoders", time_encoders(photo, runs), runs)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(table, encoding="utf-8")
    click.echo(table)
