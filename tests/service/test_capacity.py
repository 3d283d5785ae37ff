"""The calculator: more load, or a tighter goal, never needs fewer servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.batch_curve import BatchCurve, read_curve
from service.batching import Limits
from service.capacity import need

CURVE = BatchCurve(0.02, 0.03)


def test_more_load_needs_more_servers() -> None:
    """And each of them stays below what it can do within the goal."""
    found = [need(CURVE, rate, 0.5) for rate in (5, 50, 200)]
    replicas = [each.replicas for each in found]
    assert replicas == sorted(set(replicas))
    assert replicas[0] == 1
    for each in found:
        assert each.rate_each <= each.most_each < CURVE.images_per_s(8)
        assert each.p99_s <= 0.52
        assert 0 < each.busy < 1
        assert 1 <= each.batch <= 8


def test_a_tighter_goal_needs_more_servers() -> None:
    """Down to the time of one image, which none can beat."""
    replicas = [need(CURVE, 100, goal).replicas for goal in (2.0, 0.4, 0.15, 0.08)]
    assert replicas == sorted(replicas)
    assert replicas[-1] > replicas[0]
    with pytest.raises(ValueError, match="waits for nothing"):
        need(CURVE, 100, 0.05)


def test_batches_help() -> None:
    """An engine with costs of its own for each run carries more with larger batches."""
    small, large = (need(CURVE, 100, 1.0, Limits(max_batch=n)).replicas for n in (1, 8))
    assert small > 1.5 * large


def write(path: Path, *rows: tuple[str, tuple[int, int], int, float]) -> Path:
    """A file as the benchmark writes it, with all but what is read left out."""
    names = ("engine", "size", "batch", "median_ms")
    path.write_text(json.dumps({"rows": [dict(zip(names, r, strict=True)) for r in rows]}))
    return path


def test_the_curve_goes_through_what_was_measured(tmp_path: Path) -> None:
    """The fastest engine is taken unless another is named."""
    bench = write(
        tmp_path / "bench.json",
        *(("slow", (64, 32), n, 10.0 + 20 * n) for n in (1, 2, 4)),
        *(("fast", (64, 32), n, 5.0 + 10 * n) for n in (1, 2, 4)),
    )
    for name, start_s, image_s in (("", 0.005, 0.010), ("slow", 0.010, 0.020)):
        curve = read_curve(bench, name)
        assert (curve.start_s, curve.image_s) == pytest.approx((start_s, image_s))
        assert "measured at batch 1, 2, 4" in curve.source


def test_unclear_choices_name_what_there_is(tmp_path: Path) -> None:
    """Two sizes, an unknown engine, and a file of something else."""
    bench = write(tmp_path / "b.json", ("x", (64, 32), 1, 9.0), ("x", (32, 32), 1, 9.0))
    with pytest.raises(ValueError, match="choose one of 32x32, 64x32"):
        read_curve(bench)
    with pytest.raises(ValueError, match="it has x at 64x32"):
        read_curve(bench, "y", "64x32")
    bench.write_text("[]")
    with pytest.raises(ValueError, match=r"b\.json: is no result"):
        read_curve(bench)
