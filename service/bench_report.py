"""What ``bench_engine`` found as a table, as JSON and as a plot."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from service.bench import processor
from service.bench_engine import Report, Row, gpu_name

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino", "torch", "triton", "tensorrt",
            "tensorrt-rtx-cu13", "numpy")  # fmt: skip
COLUMNS = (
    "engine", "size", "batch", "median ms", "p99 ms", "images/s", "first call s", "load s",
    "memory MB", "GPU MB", "max", "99.9 %", "mean",
)  # fmt: skip


def write_report(path: Path, title: str, report: Report, calls: int, threads: int) -> None:
    """Write ``path`` (Markdown), and beside it the same as .json and as a plot, .svg.

    ``calls`` is how many calls each median stands for. Raises ImportError without matplotlib,
    before anything is written.
    """
    require_plot()
    path.parent.mkdir(parents=True, exist_ok=True)
    plot = path.with_suffix(".svg")
    _draw(plot, title, report.rows)
    found = {
        "title": title,
        "machine": machine(threads),
        "calls": calls,
        "rows": [dataclasses.asdict(row) for row in report.rows],
        "absent": report.absent,
    }
    path.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    table = markdown(title, report, calls, threads)
    path.write_text(f"{table}\n![Times]({plot.name})\n", encoding="utf-8")


def require_plot() -> None:
    """Raise ImportError, naming the extra, where plots cannot be drawn."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'hdsynth[bench]'") from error


def markdown(title: str, report: Report, calls: int, threads: int) -> str:
    """Render the table, with what is needed to judge it."""
    used = machine(threads)
    lines = [
        f"# {title}",
        "",
        (
            f"Measured on {used['processor']}, {used['threads']} threads, "
            f"GPU: {used['gpu'] or 'none'}; Python {used['python']}, "
            + ", ".join(f"{name} {number}" for name, number in used["packages"].items())
            + f". Integer maps in, bytes out. Times are of a whole batch, {calls} calls each; "
            "engines took turns on the same scenes, each in its own process, whose peak of main "
            "memory is given. Max, 99.9 % and mean are differences from torch float32 eager in "
            "grey levels."
        ),
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * 3 + "|--:" * (len(COLUMNS) - 3) + "|",
        *("| " + " | ".join(_cells(row)) + " |" for row in report.rows),
    ]
    if report.absent:
        lines += ["", "Not measured, or not to the end:", ""]
        lines += [f"- {engine}: {reason}" for engine, reason in report.absent.items()]
    return "\n".join(lines) + "\n"


def machine(threads: int) -> dict[str, Any]:
    """Describe what the times depend on; ``threads`` 0 = one per processor core."""
    return {
        "processor": processor(),
        "threads": threads or len(os.sched_getaffinity(0)),
        "gpu": gpu_name(),
        "python": platform.python_version(),
        "packages": {name: number for name in PACKAGES if (number := _version(name))},
    }


def _cells(row: Row) -> list[str]:
    parity = row.parity
    gpu = row.gpu_memory_bytes
    return [
        row.engine,
        f"{row.size[0]}x{row.size[1]}",
        str(row.batch),
        f"{row.median_ms:.1f}",
        f"{row.p99_ms:.1f}",
        f"{row.images_per_s:.2f}",
        f"{row.first_s:.2f}",
        f"{row.load_s:.1f}",
        f"{row.memory_bytes / 1e6:.0f}",
        "" if gpu is None else f"{gpu / 1e6:.0f}",
        *(
            ("", "", "")
            if parity is None
            else (f"{parity.maximum:.0f}", f"{parity.percentile_99_9:.1f}", f"{parity.mean:.3f}")
        ),
    ]


def _draw(path: Path, title: str, rows: list[Row]) -> None:
    """Bars of the median with p99 as a whisker, one panel per size and batch."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((row.size, row.batch) for row in rows))
    engines = len({row.engine for row in rows})
    height = max(1, len(panels)) * (0.8 + 0.35 * engines)
    figure = Figure(figsize=(8, height), layout="constrained")
    figure.suptitle(title)
    for axes, (size, batch) in zip(
        figure.subplots(max(1, len(panels)), squeeze=False).ravel(), panels, strict=False
    ):
        shown = [row for row in rows if (row.size, row.batch) == (size, batch)]
        medians = [row.median_ms for row in shown]
        slower = [max(0.0, row.p99_ms - row.median_ms) for row in shown]
        bars = axes.barh([row.engine for row in shown], medians, xerr=[[0] * len(shown), slower])
        axes.bar_label(bars, [_label(row) for row in shown], padding=3, fontsize=8)
        axes.margins(x=0.6)  # room for the labels
        axes.invert_yaxis()
        axes.set_title(f"{size[0]}x{size[1]}, batch {batch}", loc="left", fontsize=10)
        axes.set_xlabel("ms per batch: median, whisker to p99")
    figure.savefig(path, format="svg", metadata={"Date": None})


def _label(row: Row) -> str:
    apart = "" if row.parity is None else f", {row.parity.mean:.2f} grey levels apart"
    return f"{row.median_ms:.1f} ms{apart}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
