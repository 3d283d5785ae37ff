"""``hdsynth bench engine``: all engines side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import FILE, FOLDER, Size, model_option, open_bundle

if TYPE_CHECKING:
    from model.bundle import Bundle
    from service.bench_engine import Summarise

RANDOM_KINDS = ("global-1024x512", "local-2048x1024")


@click.command("engine")
@model_option
@click.option("--random", "kind", type=click.Choice(RANDOM_KINDS),
              help="Instead of --model: a full-size generator with random weights.")  # fmt: skip
@click.option("--sizes", type=Size(), multiple=True,
              help="Size to measure; may be repeated.  [default: that of the model]")  # fmt: skip
@click.option("--batches", default="1", show_default=True, help="Batches, such as 1,4.")
@click.option("--backends", help="Such as openvino:int8,torch-compiled.  [default: all]")
@click.option("--reference", type=FOLDER, metavar="DIR",
              help="Also time the checkout of the reference implementation in DIR.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True,
              help="How often the engines take turns.")  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=4, show_default=True,
              help="Calls of each engine in a round.")  # fmt: skip
@click.option("--threads", type=click.IntRange(0), default=0, help="0 = all cores.")
@click.option("-o", "--output", type=FILE,
              help="Also write the table here, and beside it .json and a plot.")  # fmt: skip
def bench_engine(
    model: Path | None, kind: str | None, sizes: tuple[tuple[int, int], ...], batches: str,
    backends: str | None, reference: Path | None, rounds: int, runs: int, threads: int,
    output: Path | None,
) -> None:  # fmt: skip
    """Time all engines side by side, and how far their pixels are from torch's in float32.

    Every engine runs in a process of its own; they take turns on the same scenes. Run it on an
    idle machine. Engines that cannot run here are listed with the reason.

    --reference takes a folder that holds the reference's models/networks.py; its generator gets
    the same weights and runs in float32, with our one-hot, edges and copy-out around it.
    """
    from service.bench_engine import bench_engines
    from service.bench_report import markdown, require_plot, write_report

    numbers = _numbers(batches)
    if output:
        require_plot()
    with _bundle(model, kind) as bundle:
        report = bench_engines(
            bundle,
            _choose(bundle, backends, reference),
            sizes or (bundle.trained_size or (512, 256),),
            numbers,
            rounds=rounds,
            runs=runs,
            threads=threads,
            summarise=_summarise(),
            say=_tell,
        )
        title = f"Engines of {bundle.name}"
    click.echo(markdown(title, report, rounds * runs, threads))
    if output:
        write_report(output, title, report, rounds * runs, threads)
        click.echo(f"wrote {output}", err=True)


def _tell(text: str) -> None:
    """Say what happens, beside the table."""
    click.echo(text, err=True)


def _numbers(text: str) -> list[int]:
    """Parse ``1,4``."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise click.BadParameter(
            f"{text!r} is no list of batches; write 1,4", param_hint="--batches"
        )
    return [int(part) for part in parts]


@contextlib.contextmanager
def _bundle(model: Path | None, kind: str | None) -> Iterator[Bundle]:
    """Open the bundle, or make a random one that lasts as long as the context."""
    if kind is None:
        yield open_bundle(model)
        return
    if model is not None:
        raise click.UsageError("--model and --random exclude each other")
    import tempfile

    from export.build import add_engines
    from export.random_bundle import write_random_bundle

    with tempfile.TemporaryDirectory() as folder:
        click.echo(f"making {kind} with random weights", err=True)
        bundle = write_random_bundle(Path(folder) / kind, kind)
        side = 2 * bundle.generator.minimum_side
        yield add_engines(bundle.path(""), sizes=((side, side),), tell=_tell)


def _choose(bundle: Bundle, backends: str | None, reference: Path | None) -> list[str]:
    """List the backends asked for: ``openvino`` in all its precisions, ``openvino:int8`` alone."""
    from service.bench_child import REFERENCE
    from service.bench_engine import all_backends

    found = all_backends(bundle)
    if backends is not None:
        names = [name.strip() for name in backends.split(",")]
        matching = {n: [f for f in found if n in {f, f.partition(":")[0]}] for n in names}
        for name in names:
            if not matching[name]:
                raise click.BadParameter(
                    f"{name!r} is no backend of this model; choose from {', '.join(found)}",
                    param_hint="--backends",
                )
        found = [backend for name in names for backend in matching[name]]
    if reference is not None:
        found.append(f"{REFERENCE}{reference.resolve()}")
    return found


def _summarise() -> Summarise | None:
    """How to compare photographs; nothing where torch, the standard, is not installed."""
    try:
        from export.parity import summarise
    except ImportError:
        click.echo("torch is not installed, so photographs are not compared", err=True)
        return None
    return summarise
