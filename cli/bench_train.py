"""``hdsynth bench train``: how fast is training here, beside the reference's order of work?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.options import FILE, FOLDER, Size


@click.command("train")
@click.option("--data", type=FOLDER, help="Training folder.  [default: drawn facades]")
@click.option("--labels", type=click.IntRange(1, 255), default=11, show_default=True,
              help="Classes of the networks for drawn facades.")  # fmt: skip
@click.option("--preset", default="facades", show_default=True, help="Recipe, as in training.")
@click.option("--set", "others", multiple=True, metavar="NAME=VALUE",
              help="Any training setting, such as batch=1; may be repeated.")  # fmt: skip
@click.option("--size", type=Size(), default="256x256", show_default=True, help="Of the crops.")
@click.option("--steps", type=click.IntRange(1), default=8, show_default=True,
              help="Steps of each loop that count; two more warm up.")  # fmt: skip
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--precision", default="float32", show_default=True,
              help="float32, bfloat16 or float16; the plain loop's is float32.")  # fmt: skip
@click.option("--compile", "compiled", is_flag=True, help="Measure a compiled step besides.")
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads; 0 = all cores.")
@click.option("-o", "--output", type=FILE,
              help="Write the table here (Markdown) and all numbers beside it.")  # fmt: skip
def bench_train(
    data: Path | None, labels: int, preset: str, others: tuple[str, ...], size: tuple[int, int],
    steps: int, device: str, precision: str, compiled: bool, threads: int, output: Path | None,
) -> None:  # fmt: skip
    """Time a training step beside a plain loop over the same networks.

    Run it on an idle machine. Fails when the losses of the two are not equal.
    """
    import dataclasses
    import json

    import torch

    from model.spec import InputSpec
    from training import bench
    from training.config import parse_setting
    from training.data import open_folder
    from training.presets import resolve

    if threads:
        torch.set_num_threads(threads)
    given: dict[str, Any] = dict(parse_setting(text) for text in others)
    given |= {"precision": precision, "compile": compiled}
    config = resolve(str(data or ""), preset, 1.0, given)
    count = steps + bench.WARM_UP
    if data:
        folder = open_folder(data)
        spec = folder.input(config.styles, config.edges)
        batches = bench.real_batches(folder, size, config.batch, count)
    else:
        spec = InputSpec(labels, edges=True, style_channels=config.styles)
        batches = bench.drawn_batches(spec, size, config.batch, count)
    target = torch.device(device)
    measured = bench.compare_loops(config, spec, batches, target)
    table = bench.markdown(measured, config, batches, bench.device_name(target))
    click.echo(table)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(table, encoding="utf-8")
        numbers = {"config": dataclasses.asdict(config),
                   "loops": [dataclasses.asdict(m) for m in measured]}  # fmt: skip
        text = json.dumps(numbers, indent=1) + "\n"
        output.with_suffix(".json").write_text(text, encoding="utf-8")
    worst = max(m.difference for m in measured)
    if worst > bench.TOLERANCE:
        raise click.ClickException(
            f"the losses differ by up to {100 * worst:.2f} %, more than {100 * bench.TOLERANCE:g} %"
        )
