"""Engines measured side by side: real engines in real processes, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.parity import summarise
from model.bundle import load_bundle
from service.bench_child import REFERENCE, EngineChild, EngineFailedError
from service.bench_engine import Report, all_backends, bench_engines
from service.bench_report import markdown, write_report
from tests.service.reference_stand_in import write_stand_in

SIZES = [(64, 64), (100, 70)]


@pytest.fixture(scope="module")
def report(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Three engines that run and three that cannot, at two sizes and batches."""
    checkout = write_stand_in(tmp_path_factory.mktemp("checkout"))
    backends = [
        "onnx:float32",
        "torch",
        f"{REFERENCE}{checkout}",
        f"{REFERENCE}{checkout / 'elsewhere'}",
        "unheard-of",
        "onnx-frozen",
    ]
    return bench_engines(
        load_bundle(tiny_bundle),
        backends,
        SIZES,
        (1, 2),
        rounds=2,
        runs=2,
        threads=1,
        summarise=summarise,
    )


def test_every_engine_has_a_row_for_every_size_and_batch(report: Report) -> None:
    """Sizes, batches and engines in the order asked for, with plausible numbers."""
    assert [row.engine for row in report.rows[:3]] == [
        "onnx CPU float32",
        "torch CPU float32",
        "reference CPU float32",
    ]
    assert [(row.size, row.batch) for row in report.rows[::3]] == [
        (size, batch) for size in SIZES for batch in (1, 2)
    ]
    for row in report.rows:
        assert 0 < row.median_ms <= row.p99_ms
        assert row.images_per_s > 0
        assert row.first_s > 0
        assert row.load_s > 0
        assert 20e6 < row.memory_bytes < 20e9


def test_photographs_are_compared_with_torch(report: Report) -> None:
    """Engines with the same weights agree, the reference's network among them."""
    for row in report.rows:
        assert row.parity is not None
        assert row.parity.within_one >= 0.999
        assert row.parity.scenes == row.batch
    torch_rows = [row for row in report.rows if row.engine.startswith("torch")]
    assert all(row.parity is not None and row.parity.maximum == 0 for row in torch_rows)


def test_engines_that_cannot_run_are_listed_with_the_reason(report: Report) -> None:
    """A backend that does not exist and a folder that is no checkout stop nothing."""
    elsewhere, unheard_of, frozen = report.absent
    assert "networks.py does not exist" in report.absent[elsewhere]
    assert unheard_of == "unheard-of"
    assert "'unheard-of' is unknown" in report.absent[unheard_of]
    assert report.absent[frozen].startswith("BundleError: tiny: no onnx-frozen engine")


def test_report_is_written_as_table_json_and_plot(report: Report, tmp_path: Path) -> None:
    """The three files carry the same run."""
    path = tmp_path / "results" / "engines.md"
    write_report(path, "Engines of tiny", report, calls=4, threads=1)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(markdown("Engines of tiny", report, 4, 1))
    assert text.count("| onnx CPU float32 | 100x70 |") == 2
    assert "- unheard-of: " in text
    assert "(engines.svg)" in text
    data = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert len(data["rows"]) == len(report.rows)
    assert data["rows"][0]["median_ms"] == report.rows[0].median_ms
    assert data["machine"]["packages"]["numpy"]
    plot = path.with_suffix(".svg").read_text(encoding="utf-8")
    assert plot.count("<svg") == 1


def test_an_engine_that_dies_is_reported(tiny_bundle: Path) -> None:
    """When the process is gone, the next call says how it ended."""
    child = EngineChild(tiny_bundle, "onnx", threads=1)
    child._process.kill()
    child._process.join()
    with pytest.raises(EngineFailedError, match="exit code -9"):
        child.again(1)
    child.stop()


def test_every_exported_precision_takes_part(tiny_bundle: Path) -> None:
    """By default each runtime runs in each precision that the bundle has, beside torch."""
    bundle = load_bundle(tiny_bundle)
    found = all_backends(bundle)
    exported = {f"{engine.backend}:{engine.precision}" for engine in bundle.engines}
    assert exported | {"torch", "torch-compiled", "tensorrt"} <= set(found)
    assert "auto" not in found
    assert len(found) == len(set(found))
