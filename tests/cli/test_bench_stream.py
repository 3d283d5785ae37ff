"""`hdsynth bench stream` and `bench flicker` on a real server and a real model."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from cli.bench_flicker import bench_flicker
from cli.bench_stream import bench_stream


def test_every_frame_is_accounted_for(tiny_bundle: Path, tmp_path: Path) -> None:
    """Results and drops make up what was sent, and the table and its numbers are written."""
    output = tmp_path / "stream.md"
    load = ["--sessions", "2", "--fps", "40", "--seconds", "1", "--size", "96x80", "--zlib"]
    load += ["--idle", "2"]
    done = CliRunner().invoke(bench_stream, ["--model", str(tiny_bundle), *load, "-o", str(output)])
    assert done.exit_code == 0, done.output
    found = json.loads(output.with_suffix(".json").read_text())
    assert found["frames"] == 80
    assert found["unaccounted"] == 0
    assert found["results"] > 0
    assert found["reordered"] == 0
    assert found["server_cpu_ms_per_result"] > 0
    assert found["idle_stream_s"] == 2
    assert len(found["server_memory_mb"]) > 10
    assert output.read_text() in done.output


def test_blending_lowers_flicker(tiny_bundle: Path) -> None:
    """The table compares both films with and without it."""
    options = ["--backend", "torch", "--size", "96x80", "--frames", "4", "--scenes", "1"]
    done = CliRunner().invoke(bench_flicker, ["--model", str(tiny_bundle), *options])
    assert done.exit_code == 0, done.output
    rows = [line.split(" | ") for line in done.output.splitlines() if "moving" in line]
    plain, blended = [float(row[2]) for row in rows if row[0] == "| moving car"]
    assert blended < plain
