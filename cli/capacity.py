"""``hdsynth capacity``: how many servers does a load need?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.options import FILE, Size

if TYPE_CHECKING:
    from service.batch_curve import BatchCurve

Command = TypeVar("Command", bound=Callable[..., Any])


def curve_options(command: Command) -> Command:
    """Options that say how long a batch takes: measured, or given as numbers."""
    for option in reversed((
        click.option("--bench", type=click.Path(path_type=Path, exists=True, dir_okay=False),
                     help="JSON that 'hdsynth bench engine -o' wrote."),
        click.option("--engine", default="", help="Row of it.  [default: the fastest]"),
        click.option("--size", type=Size(), help="Size of the images.  [default: that of --bench]"),
        click.option("--image-ms", type=click.FloatRange(0, min_open=True),
                     help="Instead of --bench: milliseconds of an image."),
        click.option("--start-ms", type=click.FloatRange(0), default=0,
                     help="With --image-ms: of every run on top."),
        click.option("--max-batch", type=click.IntRange(1), default=8, show_default=True,
                     help="Most images that run at once."),
        click.option("--extra-ms", type=click.FloatRange(0), default=0, show_default=True,
                     help="What a request takes besides the engine: reading, encoding, the way."),
    )):  # fmt: skip
        command = option(command)
    return command


def read_curve_options(
    bench: Path | None, engine: str, size: tuple[int, int] | None, image_ms: float | None,
    start_ms: float,
) -> BatchCurve:  # fmt: skip
    """Return the curve that the options mean."""
    from service.batch_curve import BatchCurve, read_curve

    if (bench is None) == (image_ms is None):
        raise click.UsageError("say how long an image takes: either --bench or --image-ms")
    if bench is not None:
        return read_curve(bench, engine, f"{size[0]}x{size[1]}" if size else "")
    assert image_ms is not None
    return BatchCurve(image_ms / 1000, start_ms / 1000)


@click.command()
@curve_options
@click.option("--rate", type=click.FloatRange(0, min_open=True), required=True,
              help="Requests per second.")  # fmt: skip
@click.option("--goal", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True,
              help="Latency in seconds that 99 % of the requests should be within.")  # fmt: skip
@click.option("--price", type=click.FloatRange(0), help="Of an hour of one server.")
@click.option("-o", "--output", type=FILE, help="Also write the table here (Markdown).")
def capacity(
    bench: Path | None, engine: str, size: tuple[int, int] | None, image_ms: float | None,
    start_ms: float, max_batch: int, extra_ms: float, rate: float, goal: float,
    price: float | None, output: Path | None,
) -> None:  # fmt: skip
    """Say how many servers (or GPUs, if each has one) a steady load needs.

    Requests come at random, each to a server at random; what waits runs as one batch, as in the
    server. The queue is simulated, no formula is fitted. For loads that change, and servers that
    need time to start, see 'hdsynth simulate'.
    """
    from service.batching import Limits
    from service.capacity import need

    curve = read_curve_options(bench, engine, size, image_ms, start_ms)
    pixels = size[0] * size[1] if size else 1
    found = need(curve, rate, goal, Limits(max_batch=max_batch), pixels, extra_ms / 1000)
    rows = [
        ("engine", curve.source),
        ("batch time", f"{1000 * curve.start_s:.3g} ms + {1000 * curve.image_s:.3g} ms per image"),
        ("load", f"{rate:g} requests/s, 99 % within {goal:g} s"),
        ("servers (GPUs)", f"{found.replicas}"),
        ("requests/s of each", f"{found.rate_each:.3g}, at most {found.most_each:.3g} in the goal"),
        ("batch to expect", f"{found.batch:.2f} images"),
        ("engine busy", f"{found.busy:.0%} of the time"),
        ("latency", f"median {found.median_s:.3g} s, 99 % within {found.p99_s:.3g} s"),
        ("server hours per million images", f"{found.hours_per_million():.2f}"),
    ]
    if price is not None:
        rows.append(("cost per million images", f"{price * found.hours_per_million():.2f}"))
        rows.append(("cost per day", f"{price * found.replicas * 24:.2f}"))
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(table + "\n", encoding="utf-8")
    click.echo(table)
