"""Measure the image encoders, and name the machine that it was done on."""

from __future__ import annotations

import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.image_io import PHOTO_FORMATS, encode_photo


@dataclass(frozen=True)
class EncoderTimes:
    """One line of the table."""

    encoder: str
    size: str
    median_ms: float
    worst_ms: float
    megabytes: float


def time_encoders(photo: NDArray[np.uint8], runs: int) -> list[EncoderTimes]:
    """Time the encoders on one photograph (H, W, 3) after a first run that warms up."""
    size = f"{photo.shape[1]}x{photo.shape[0]}"
    rows = []
    for name in PHOTO_FORMATS:
        times = []
        for _ in range(runs + 1):
            started = time.perf_counter()
            data = encode_photo(photo, name)
            times.append(_milliseconds_since(started))
        del times[0]
        median, worst = statistics.median(times), max(times)
        rows.append(EncoderTimes(name, size, median, worst, len(data) / 1e6))
    return rows


def markdown(title: str, rows: list[EncoderTimes], runs: int) -> str:
    """Render the rows with what is needed to judge them."""
    cores = len(os.sched_getaffinity(0))
    lines = [
        f"# {title}",
        "",
        (
            f"Measured on {processor()}, {cores} cores, Python {platform.python_version()}; "
            f"{runs} runs of each, warm."
        ),
        "",
        "| encoder | size | median ms | worst ms | MB |",
        "|---|---|---|---|---|",
        *(
            f"| {r.encoder} | {r.size} | {r.median_ms:.1f} | {r.worst_ms:.1f} | {r.megabytes:.2f} |"
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
