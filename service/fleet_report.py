"""What a simulated fleet did, as a table and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from service.bench_report import require_plot
from service.fleet import Outcome

COLUMNS = (
    "scenario", "peak/s", "goal p99 s", "p99 s", "minutes in goal", "shed", "servers",
    "server hours", "hours per million", "holds",
)  # fmt: skip


def markdown(outcomes: Sequence[Outcome], price: float | None = None) -> str:
    """Render the table; ``price`` is that of a server's hour, and adds a column."""
    columns = [*COLUMNS, *(["cost per million"] if price is not None else [])]
    lines = [
        "| " + " | ".join(columns) + " |",
        "|---" + "|--:" * (len(columns) - 1) + "|",
    ]
    for outcome in outcomes:
        cells = _cells(outcome)
        if price is not None:
            cells.append(f"{price * outcome.hours_per_million:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def about(outcome: Outcome) -> str:
    """Say what was assumed, in a paragraph."""
    scenario = outcome.scenario
    scaling, limits, curve = scenario.scaling, scenario.limits, scenario.curve
    size = f" of {scenario.pixels / 1e6:.2g} megapixels" if scenario.pixels > 1 else ""
    text = (
        f"Batch time {1000 * curve.start_s:.3g} ms + {1000 * curve.image_s:.3g} ms per image"
        f"{size} ({curve.source}); at most {limits.max_batch} at once; refused from a predicted "
        f"wait of {limits.max_wait_s:g} s. "
    )
    if scaling.kind == "off":
        return text + f"{scenario.replicas} servers, no autoscaler."
    text += (
        f"Autoscaler {scaling.kind}: {scaling.min_replicas} to {scaling.max_replicas} servers, "
        f"target wait {scaling.target_wait_s:g} s"
    )
    if scaling.target_busy:
        text += f", engines busy {scaling.target_busy:.0%}"
    text += f", taken away after {scaling.down_window_s:g} s"
    if scaling.down_part:
        text += f", {scaling.down_part:.0%} a minute"
    return text + f"; a server takes {scenario.startup_s:g} s to start."


def draw(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Plot load, servers, latency and refusals over time, a column for each scenario.

    Raises ImportError, naming the extra, without matplotlib.
    """
    require_plot()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(outcomes), 8), layout="constrained")
    axes = figure.subplots(4, len(outcomes), sharex="col", squeeze=False)
    for column, outcome in zip(axes.T, outcomes, strict=True):
        scenario, minutes = outcome.scenario, outcome.minutes
        hours = [minute.at_s / 3600 for minute in minutes]
        one = scenario.curve.images_per_s(scenario.limits.max_batch)
        column[0].set_title(scenario.name)
        column[0].plot(hours, [m.rate for m in minutes], label="load")
        column[0].plot(hours, [m.serving * one for m in minutes], label="could be served")
        column[1].step(hours, [m.serving for m in minutes])
        column[2].plot(hours, [m.p99_s for m in minutes], label="p99")
        column[2].axhline(scenario.goal_s, color="grey", linestyle="--", label="goal")
        column[2].set_yscale("log")
        column[3].plot(hours, [100 * m.shed_part for m in minutes])
        column[3].set_xlabel("hours")
        for axis in column:
            axis.grid(alpha=0.3)
        for axis in (column[0], column[1], column[3]):
            axis.set_ylim(bottom=0)
    for axis, name in zip(
        axes[:, 0], ("images/s", "servers", "latency, s", "refused, %"), strict=True
    ):
        axis.set_ylabel(name)
    for row in (0, 2):
        axes[row, 0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _cells(outcome: Outcome) -> list[str]:
    served = [minute.serving for minute in outcome.minutes]
    mean = sum(served) / len(served)
    return [
        outcome.scenario.name,
        f"{max(minute.rate for minute in outcome.minutes):,.0f}",
        f"{outcome.scenario.goal_s:g}",
        f"{outcome.p99_s:.3g}",
        f"{outcome.minutes_held:.1%}",
        f"{outcome.shed_part:.2%}",
        f"{min(served)} to {max(served)}, mean {mean:.1f}",
        f"{outcome.replica_s / 3600:.1f}",
        f"{outcome.hours_per_million:.2f}",
        "yes" if outcome.holds else "no",
    ]
