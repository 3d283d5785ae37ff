"""How long a batch takes, as a straight line: seconds = start + images * each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.batch_time import BatchTime


@dataclass(frozen=True)
class BatchCurve:
    """The times of one engine at one size."""

    image_s: float
    """Seconds of every image."""
    start_s: float = 0.0
    """Seconds of every run on top."""
    source: str = "given, not measured"
    """Where the numbers come from, for people."""

    def __post_init__(self) -> None:
        """Raise ValueError for times that no engine has."""
        if self.image_s <= 0 or self.start_s < 0:
            raise ValueError(
                f"an image takes {self.image_s} s and a run {self.start_s} s more; the first must "
                "be above 0, the second not below"
            )

    def seconds(self, images: int) -> float:
        """Return the seconds of a batch."""
        return self.start_s + images * self.image_s

    def images_per_s(self, batch: int) -> float:
        """Return the throughput of an engine that runs batches of this size without a pause."""
        return batch / self.seconds(batch)


def read_curve(path: Path, engine: str = "", size: str = "") -> BatchCurve:
    """Fit a curve to what ``hdsynth bench engine -o`` wrote beside its table as .json.

    ``engine`` and ``size`` (``512x256``) choose among the rows; an empty engine is the fastest
    one, an empty size the only one. Raises ValueError naming what there is to choose from.
    """
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
        times = [(r["engine"], _size(r), int(r["batch"]), float(r["median_ms"])) for r in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: is no result of 'hdsynth bench engine -o': {error}") from error
    sizes = sorted({row[1] for row in times})
    if not size and len(sizes) > 1:
        raise ValueError(f"{path}: has several sizes; choose one of {', '.join(sizes)}")
    times = [row for row in times if row[1] == (size or row[1])]
    fastest = min(times, key=lambda row: row[3] / row[2], default=None)
    name = engine or (fastest[0] if fastest else "")
    chosen = [row for row in times if row[0] == name]
    if not chosen:
        known = sorted({f"{row[0]} at {row[1]}" for row in times}) or sizes
        raise ValueError(f"{path}: has no {engine} at {size}; it has {', '.join(known)}")
    line = BatchTime()
    for _, _, batch, milliseconds in chosen:
        line.observe(name, batch, milliseconds / 1000)
    start = line.predict(name, 0)
    source = f"{path.name}: {name} at {chosen[0][1]}, measured at batch " + ", ".join(
        str(row[2]) for row in chosen
    )
    return BatchCurve(line.predict(name, 1) - start, start, source)


def _size(row: dict[str, Any]) -> str:
    width, height = row["size"]
    return f"{width}x{height}"
