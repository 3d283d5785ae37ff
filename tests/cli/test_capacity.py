"""The commands that plan: from a measurement and a load to servers and money."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from cli.capacity import capacity
from cli.simulate import simulate


def run(command: click.Command, *arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(command, [*map(str, arguments)])


def cells(output: str) -> dict[str, str]:
    """The table of two columns."""
    rows = [line.strip("| ").split(" | ") for line in output.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) == 2}


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """What the benchmark of an engine of 10 ms + 20 ms per image has written."""
    rows = [
        {"engine": "x int8", "size": [64, 32], "batch": n, "median_ms": 10.0 + 20 * n}
        for n in (1, 4)
    ]
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"rows": rows}))
    return path


def test_a_measurement_and_a_load_make_a_number(bench: Path, tmp_path: Path) -> None:
    """The table is printed and written, with the cost."""
    table = tmp_path / "out" / "need.md"
    done = run(capacity, "--bench", bench, "--rate", 100, "--goal", 0.5, "--price", 3, "-o", table)
    assert done.exit_code == 0, done.output
    assert table.read_text() == done.output
    found = cells(done.output)
    assert found["batch time"] == "10 ms + 20 ms per image"
    servers = int(found["servers (GPUs)"])
    assert 3 <= servers <= 5
    assert float(found["cost per day"]) == servers * 24 * 3


def test_the_length_of_an_image_must_be_known(bench: Path) -> None:
    """From one place, not from two."""
    for options in (), ("--bench", bench, "--image-ms", 5):
        done = run(capacity, "--rate", 10, *options)
        assert done.exit_code == 2
        assert "either --bench or --image-ms" in done.output


def test_a_simulation_writes_table_and_plot(bench: Path, tmp_path: Path) -> None:
    """With the chart's values and what stands in for them; its words say which."""
    out = tmp_path / "sim.md"
    done = run(
        simulate, "--bench", bench, "--load", "spike", "--peak", 60, "--hours", 0.75, "--goal", 1,
        "--scaling", "keda", "--max-replicas", 9, "--price", 2, "-o", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Autoscaler keda: 1 to 9 servers" in done.output
    assert "measured at batch 1, 4" in done.output
    assert "sim.svg" in out.read_text()
    assert out.with_suffix(".svg").is_file()


def test_without_the_chart_its_values_must_be_given(tmp_path: Path) -> None:
    """A file that is not the chart's is refused by name."""
    other = tmp_path / "other.yaml"
    other.write_text("a: 1\n")
    done = run(simulate, "--image-ms", 5, "--peak", 10, "--values", other)
    assert isinstance(done.exception, ValueError)
    assert "other.yaml" in str(done.exception)
