"""What a played load has shown, as a table for people and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.bench_stream import STAGES, Load, Played


@dataclass(frozen=True)
class ServerUse:
    """What the server took while a load was played."""

    cpu_s: float
    memory_mb: list[float]
    """At equal distances in time, the first when the streams had just begun."""


def summary(
    load: Load, played: Sequence[Played], use: ServerUse | None, idle_s: float | None = None
) -> dict[str, Any]:
    """Sum up; milliseconds, and processor time of the server in milliseconds per result.

    ``use`` is None for a server elsewhere; ``idle_s`` is how long an idle stream lived beside.
    """
    ages = [1000 * age for session in played for age in session.ages]
    drops: Counter[str] = Counter()
    for session in played:
        drops += session.drops
    sent, results = sum(session.sent for session in played), len(ages)
    stages = [seconds for session in played for seconds in session.stages]
    return {
        "sessions": load.sessions,
        "size": f"{load.size[0]}x{load.size[1]}",
        "maps": "raw_zlib" if load.packed else "raw",
        "fps_sent": load.fps,
        "seconds": load.seconds,
        "frames": sent,
        "results": results,
        "drops": dict(drops),
        "reordered": sum(session.reordered for session in played),
        "unaccounted": sent - results - drops.total(),
        "fps_per_session": [round(len(s.ages) / s.seconds, 1) for s in played],
        "age_ms": _spread(ages),
        "stages_ms": {
            stage: _spread([1000 * getattr(seconds, stage) for seconds in stages])
            for stage in STAGES
        },
        "bytes_in_per_frame": round(sum(s.bytes_in for s in played) / max(1, sent)),
        "bytes_out_per_result": round(sum(s.bytes_out for s in played) / max(1, results)),
        "server_cpu_ms_per_result": use and round(1000 * use.cpu_s / max(1, results), 2),
        "server_memory_mb": use and [round(each, 1) for each in use.memory_mb],
        "idle_stream_s": idle_s and round(idle_s, 1),
    }


def markdown(found: dict[str, Any], about: str) -> str:
    """Write a summary as a table; ``about`` says what served and where it ran."""
    fps = found["fps_per_session"]
    drops = ", ".join(f"{count} {reason}" for reason, count in found["drops"].items()) or "none"
    cpu = found["server_cpu_ms_per_result"]
    rows = [
        ("results per second and session", f"{min(fps)} to {max(fps)}"),
        ("age of a result, p50 / p99", f"{_pair(found['age_ms'])} ms"),
        ("frames sent, results", f"{found['frames']}, {found['results']}"),
        ("frames dropped", drops),
        (
            "frames lost without notice, out of order",
            f"{found['unaccounted']}, {found['reordered']}",
        ),
        ("bytes in per frame", f"{found['bytes_in_per_frame']:,}"),
        ("bytes out per result", f"{found['bytes_out_per_result']:,}"),
        ("server processor time per result", "unknown" if cpu is None else f"{cpu} ms"),
        *(_memory_rows(found["server_memory_mb"])),
        *((f"{stage}, p50 / p99", f"{_pair(found['stages_ms'][stage])} ms") for stage in STAGES),
    ]
    if (idle_s := found["idle_stream_s"]) is not None:
        rows.append(("an idle stream with a ping every 10 s lived for", f"{idle_s:g} s"))
    head = (
        f"{found['sessions']} sessions, {found['size']}, {found['maps']} maps, JPEG out, "
        f"{found['fps_sent']:g} frames per second each for {found['seconds']:g} s; {about}."
    )
    table = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join([head, "", "| what | value |", "|---|---|", *table, ""])


def _memory_rows(series: list[float] | None) -> list[tuple[str, str]]:
    """Tell how memory went: after a tenth of the time everything is warm."""
    if not series:
        return []
    warm = series[len(series) // 10]
    words = f"{warm:.0f}, {series[len(series) // 2]:.0f}, {series[-1]:.0f} MB"
    return [("server memory after a tenth, half and all of the time", words)]


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {
        "mean": round(float(np.mean(values)), 2),
        "p50": round(float(np.percentile(values, 50)), 2),
        "p99": round(float(np.percentile(values, 99)), 2),
    }


def _pair(spread: dict[str, float]) -> str:
    return f"{spread['p50']:.1f} / {spread['p99']:.1f}" if spread else "none"
