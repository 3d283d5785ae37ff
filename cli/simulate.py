"""``hdsynth simulate``: does a fleet of servers hold its latency, and what does it cost?"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import click

from cli.capacity import curve_options, read_curve_options
from cli.options import FILE

CHART = Path(__file__).parents[1] / "k8s" / "hdsynth" / "values.yaml"


@click.command()
@curve_options
@click.option("--load", type=click.Choice(["day", "spike"]), default="day", show_default=True,
              help="A day's curve, or a jump to the peak for ten minutes.")  # fmt: skip
@click.option("--peak", type=click.FloatRange(0, min_open=True), required=True,
              help="Requests per second at the highest.")  # fmt: skip
@click.option("--goal", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True,
              help="Latency in seconds that 99 % of the requests should be within.")  # fmt: skip
@click.option("--values", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Values of the chart.  [default: k8s/hdsynth/values.yaml]")  # fmt: skip
@click.option("--scaling", type=click.Choice(["off", "hpa", "keda"]),
              help="Autoscaler.  [default: that of the values]")  # fmt: skip
@click.option("--replicas", type=click.IntRange(1),
              help="Servers at first.  [default: those that the first minute needs]")  # fmt: skip
@click.option("--min-replicas", type=click.IntRange(0), help="Instead of that in the values.")
@click.option("--max-replicas", type=click.IntRange(1), help="Instead of that in the values.")
@click.option("--target-wait", "target_wait_s", type=click.FloatRange(0, min_open=True),
              help="Instead of that in the values, in seconds.")  # fmt: skip
@click.option("--max-wait", type=click.FloatRange(0, min_open=True),
              help="Instead of that in the values, in seconds.")  # fmt: skip
@click.option("--target-busy", type=click.FloatRange(0, 1),
              help="Also scale on how busy engines are, 0..1.")  # fmt: skip
@click.option("--down-part", type=click.FloatRange(0, 1),
              help="Part of the servers that may go in a minute.  [default: one]")  # fmt: skip
@click.option("--startup", "startup_s", type=click.FloatRange(0), default=90, show_default=True,
              help="Seconds from the decision to a server's first request.")  # fmt: skip
@click.option("--hours", type=click.FloatRange(0, min_open=True),
              help="How long.  [default: 24 for a day, 1.5 for a spike]")  # fmt: skip
@click.option("--price", type=click.FloatRange(0), help="Of an hour of one server.")
@click.option("--name", default="", help="Of the scenario, in table and plot.")
@click.option("-o", "--output", type=FILE,
              help="Also write the table here (Markdown), and beside it a plot, .svg.")  # fmt: skip
def simulate(
    bench: Path | None, engine: str, size: tuple[int, int] | None, image_ms: float | None,
    start_ms: float, max_batch: int, extra_ms: float, load: str, peak: float, goal: float,
    values: Path | None, scaling: Any, replicas: int | None, max_wait: float | None,
    startup_s: float, hours: float | None, price: float | None, name: str, output: Path | None,
    **overrides: Any,
) -> None:  # fmt: skip
    """Simulate servers behind the chart's autoscaler under a load that changes.

    Servers batch and refuse as the real one does; the autoscaler follows Kubernetes' rules with
    the chart's values. The table tells whether 99 % of the requests are within the goal with at
    most 0.1 % refused, how many servers there were, and what it costs.
    """
    from service.batching import Limits
    from service.bench_report import require_plot
    from service.fleet import DAY_S, Fleet, Scenario, day, spike
    from service.fleet_report import about, draw, markdown
    from service.fleet_scaling import read_values

    if values is None and not CHART.is_file():
        raise click.UsageError("the chart is not here; give the path of its --values")
    if output:
        require_plot()
    chart = read_values(values or CHART, scaling)
    given = {name: value for name, value in overrides.items() if value is not None}
    rule = dataclasses.replace(chart.scaling, **given)
    curve = read_curve_options(bench, engine, size, image_ms, start_ms)
    limits = Limits(max_batch=max_batch, max_wait_s=max_wait or chart.max_wait_s)
    curve_of_load = (day if load == "day" else spike)(peak)
    if rule.kind == "off":
        first = chart.replicas
    else:
        first = math.ceil(curve_of_load(0.0) / (0.6 * curve.images_per_s(max_batch)))
        first = min(max(first, rule.min_replicas, 1), rule.max_replicas)
    outcome = Fleet(
        Scenario(
            name=name or load,
            load=curve_of_load,
            seconds=hours * 3600 if hours else DAY_S if load == "day" else 5400.0,
            curve=curve,
            scaling=rule,
            limits=limits,
            replicas=replicas or first,
            goal_s=goal,
            startup_s=startup_s,
            pixels=size[0] * size[1] if size else 1,
            extra_s=extra_ms / 1000,
        )
    ).run()
    text = f"{about(outcome)}\n\n{markdown([outcome], price)}"
    if output:
        plot = output.with_suffix(".svg")
        draw(plot, [outcome])
        output.write_text(f"{text}\n![Over time]({plot.name})\n", encoding="utf-8")
    click.echo(text)
