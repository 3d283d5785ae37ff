"""What ``bench_serve`` found as a table, as JSON and as a plot."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.bench_report import machine, require_plot
from service.bench_serve import Result

COLUMNS = (
    "load", "server", "served/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "sent",
    "shed", "with Retry-After", "shed p99 ms", "failed", "CPU ms",
)  # fmt: skip


def markdown(title: str, about: str, results: Sequence[Result], threads: int = 0) -> str:
    """Render the table, with what is needed to judge it."""
    used = machine(threads)
    cores = max((result.generator_cores for result in results), default=0.0)
    late = max((result.late_p99_ms for result in results), default=0.0)
    lines = [
        f"## {title}",
        "",
        (
            f"{about} Measured on {used['processor']}, Python {used['python']}, GPU: "
            f"{used['gpu'] or 'none'}. The load generator shared the machine, kept at most "
            f"{cores:.2f} cores busy, and started 99 % of the requests of an open loop within "
            f"{late:.1f} ms of their time. CPU ms is the processor time of all of a server's "
            "processes for each request that it served."
        ),
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * 2 + "|--:" * (len(COLUMNS) - 2) + "|",
        *("| " + " | ".join(_cells(result)) + " |" for result in results),
    ]
    return "\n".join(lines) + "\n"


def write_report(
    path: Path, title: str, about: str, results: Sequence[Result], threads: int = 0
) -> None:
    """Write ``path`` (Markdown), and beside it the same as .json and as a plot, .svg.

    Raises ImportError without matplotlib, before anything is written.
    """
    require_plot()
    path.parent.mkdir(parents=True, exist_ok=True)
    plot = path.with_suffix(".svg")
    draw(plot, title, results)
    found = {
        "title": title,
        "about": about,
        "machine": machine(threads),
        "results": [_fields(result) for result in results],
    }
    path.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    table = markdown(title, about, results, threads)
    path.write_text(f"{table}\n![Latency]({plot.name})\n", encoding="utf-8")


def draw(path: Path, title: str, results: Sequence[Result]) -> None:
    """Draw latency against percentile, one panel per load, as HdrHistogram's plots do."""
    from matplotlib.figure import Figure

    loads = list(dict.fromkeys(result.work for result in results))
    figure = Figure(figsize=(4.5 * max(1, len(loads)), 3.6), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, max(1, len(loads)), squeeze=False)[0]
    for axes, load in zip(panels, loads, strict=False):
        for result in results:
            if result.work == load and result.latencies:
                count = len(result.latencies)
                beyond = 1 / (1 - np.arange(count) / count)  # one request in so many is slower
                axes.plot(beyond, result.latencies, label=result.server)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks([1, 10, 100, 1000], ["0 %", "90 %", "99 %", "99.9 %"])
        axes.set_title(load, fontsize=10)
        axes.set_xlabel("percentile")
        axes.set_ylabel("ms")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _fields(result: Result) -> dict[str, Any]:
    fields = dataclasses.asdict(result)
    fields["latencies"] = [round(value, 2) for value in result.latencies[:: _step(result)]]
    return fields


def _step(result: Result) -> int:
    """Keep the file small: a thousand latencies draw the same curve."""
    return max(1, len(result.latencies) // 1000)


def _cells(result: Result) -> list[str]:
    latency, shed = result.latency_ms, result.shed_ms
    return [
        result.work,
        result.server,
        f"{result.goodput:.1f}",
        *(
            f"{latency[key]:.1f}" if latency else ""
            for key in ("p50", "p90", "p99", "p99.9", "max")
        ),
        str(result.sent),
        str(result.shed),
        f"{100 * result.shed_with_return:.0f} %" if result.shed else "",
        f"{shed['p99']:.1f}" if shed else "",
        str(result.failed),
        f"{result.cpu_ms:.1f}" if result.cpu_ms else "",
    ]
