"""Measure engines side by side in one run, and the encoders that follow them."""

from __future__ import annotations

import platform
import resource
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.image_io import PHOTO_FORMATS, encode_photo
from model.scenes import draw_scene
from service.synthesizer import Synthesizer


@dataclass(frozen=True)
class Row:
    """One line of a table; times in milliseconds."""

    what: str
    size: str
    median_ms: float
    worst_ms: float
    note: str


def bench_engines(
    engines: Mapping[str, Synthesizer], sizes: list[tuple[int, int]], runs: int
) -> list[Row]:
    """Time every engine on the same drawn scene at each (width, height), taking turns.

    The note compares each engine with the last one: speed, and how far its pixels are apart.
    """
    rows = []
    for width, height in sizes:
        drawn = draw_scene(width, height, seed=1)
        times: dict[str, list[float]] = {name: [] for name in engines}
        photos: dict[str, NDArray[np.uint8]] = {}
        scenes = {n: [s.prepare(drawn.label, drawn.instance)] for n, s in engines.items()}
        for turn in range(runs + 1):
            for name, synthesizer in engines.items():
                started = time.perf_counter()
                (photos[name],) = synthesizer.run(scenes[name])
                elapsed = _milliseconds_since(started)
                if turn:  # the first turn warms up
                    times[name].append(elapsed)
        baseline = list(engines)[-1]
        for name, found in times.items():
            median = statistics.median(found)
            note = ""
            if name != baseline:
                apart = np.abs(photos[name].astype(int) - photos[baseline])
                faster = statistics.median(times[baseline]) / median
                note = (
                    f"{faster:.2f}x {baseline}; {100 * (apart <= 1).mean():.3f} % of values "
                    f"within 1 grey level, worst {apart.max()}"
                )
            rows.append(Row(name, f"{width}x{height}", median, max(found), note))
    return rows


def bench_encoders(photo: NDArray[np.uint8], runs: int) -> list[Row]:
    """Time the encoders on one photograph (H, W, 3)."""
    size = f"{photo.shape[1]}x{photo.shape[0]}"
    rows = []
    for name in PHOTO_FORMATS:
        times = []
        for _ in range(runs + 1):
            started = time.perf_counter()
            data = encode_photo(photo, name)
            times.append(_milliseconds_since(started))
        del times[0]  # the first run warms up
        note = f"{len(data) / 1e6:.2f} MB"
        rows.append(Row(f"encode {name}", size, statistics.median(times), max(times), note))
    return rows


def markdown(title: str, rows: list[Row], threads: int) -> str:
    """Render the rows with what is needed to judge them."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "torch", "numpy"))
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = [
        f"# {title}",
        "",
        (
            f"Measured on {processor()}, {threads} threads, Python {platform.python_version()}, "
            f"{packages}. Milliseconds, warm; engines take turns on the same scene. The process "
            f"used {peak / 1e9:.1f} GB at most, with all engines loaded."
        ),
        "",
        "| what | size | median ms | worst ms | |",
        "|---|---|---|---|---|",
        *(
            f"| {r.what} | {r.size} | {r.median_ms:.1f} | {r.worst_ms:.1f} | {r.note} |"
            for r in rows
        ),
    ]
    return "\n".join(lines) + "\n"


def _milliseconds_since(started: float) -> float:
    return 1000 * (time.perf_counter() - started)


def processor() -> str:
    """Name of this machine's processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
