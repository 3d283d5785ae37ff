"""``hdsynth bench``: how fast is it here?"""

from __future__ import annotations

from pathlib import Path

import click

from cli.options import FILE, Size, model_option, open_bundle


@click.command()
@model_option
@click.option("--size", "sizes", type=Size(), multiple=True, default=["512x256", "512x512"],
              show_default=True, help="Sizes to measure; may be repeated.")  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=10, show_default=True, help="Runs of each.")
@click.option("--threads", type=click.IntRange(0), default=0, help="0 = all cores.")
@click.option("-o", "--output", type=FILE, help="Also write the table here (Markdown).")
def bench(
    model: Path | None, sizes: tuple[tuple[int, int], ...], runs: int, threads: int,
    output: Path | None,
) -> None:  # fmt: skip
    """Time ONNX Runtime beside torch on the same weights, and the image encoders.

    Run it on an idle machine.
    """
    import os

    from model.scenes import draw_scene
    from service.backends import BACKENDS, load_engine
    from service.bench import bench_encoders, bench_engines, markdown
    from service.synthesizer import Synthesizer

    bundle = open_bundle(model)
    engines = {}
    for backend in BACKENDS:
        engine = load_engine(bundle, backend, threads)
        engines[engine.name] = Synthesizer(bundle, engine)
    rows = bench_engines(engines, list(sizes), runs)
    first = next(iter(engines.values()))
    scene = draw_scene(2048, 1024, seed=1)
    (photo,) = first.run([first.prepare(scene.label, scene.instance)])
    rows += bench_encoders(photo, runs)
    table = markdown(f"Times of {bundle.name}", rows, threads or len(os.sched_getaffinity(0)))
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(table, encoding="utf-8")
    click.echo(table)
