"""``hdsynth bench engine``."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.bench_engine import bench_engine


def run(*arguments: object) -> str:
    """Run the command and return what it prints on standard output."""
    result = CliRunner().invoke(
        bench_engine, [str(a) for a in arguments], catch_exceptions=False, standalone_mode=False
    )
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_chosen_backends_are_measured_and_written(tiny_bundle: Path, tmp_path: Path) -> None:
    """Only the backends named are timed, yet they are compared with torch."""
    output = tmp_path / "out" / "engines.md"
    table = run(
        "--model", tiny_bundle, "--backends", "onnx:float32", "--sizes", "64x64",
        "--batches", "1,2", "--rounds", 1, "--runs", 2, "--threads", 1, "-o", output,
    )  # fmt: skip
    assert "| onnx CPU float32 | 64x64 | 2 |" in table
    assert "torch CPU" not in table
    rows = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))["rows"]
    assert [row["batch"] for row in rows] == [1, 2]
    assert all(row["parity"]["within_one"] >= 0.999 for row in rows)
    assert output.with_suffix(".svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batches", "1,x"], "'1,x' is no list of batches"),
        (["--batches", "0"], "'0' is no list of batches"),
        (
            ["--backends", "onnx,unheard-of"],
            "'unheard-of' is no backend of this model; choose from",
        ),
        (["--random", "global-1024x512", "--model", "."], "exclude each other"),
    ],
)
def test_wrong_usage_is_named(arguments: list[str], message: str) -> None:
    """Nothing is loaded before the arguments are right."""
    with pytest.raises(click.UsageError, match=message):
        run(*arguments)
