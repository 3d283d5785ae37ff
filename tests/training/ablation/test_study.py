"""Whole studies of a few steps: they resume, run side by side, and print the paper's tables."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli.ablate import ablate
from training.ablation.runs import Job, Outcome
from training.ablation.schedule import LOG, RunFailedError, run_all
from training.ablation.studies import STUDIES, run_configs
from training.evaluation.segmenter import SegmenterConfig, train_segmenter

TINY: dict[str, Any] = {"perceptual": 0.0, "workers": 0}
"""Without the perceptual loss no weights are needed."""


@pytest.fixture(scope="session")
def judge(prepared: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmenter that has hardly learnt anything."""
    path = tmp_path_factory.mktemp("judge") / "judge.safetensors"
    config = SegmenterConfig(str(prepared / "train"), steps=2, batch=1, size=32, width=8)
    train_segmenter(config, weights, path)
    return path


@pytest.fixture
def jobs(prepared: Path, weights: Path, judge: Path, tmp_path: Path) -> list[Job]:
    """Two runs of two images each."""
    given = {"": TINY, "crn": {"l1": 1.0}}
    configs = run_configs(STUDIES["paper"], prepared / "train", 32, 2, 2, given)
    return [
        Job(name, configs[name], tmp_path / name, prepared / "val", weights, judge)
        for name in ("pix2pix", "crn")
    ]


def run(data: Path, output: Path, weights: Path, *more: str) -> Result:
    """Call the command at the smallest size."""
    return CliRunner().invoke(
        ablate, [str(data), "-o", str(output), "--weights", str(weights), "--images", "2",
                 "--size", "32", "--width", "2", "--set", "perceptual=0", "--set", "workers=0",
                 "--set", "crn:l1=1", "--device", "cpu", "--threads", "1", *more],
    )  # fmt: skip


def test_the_command_prints_the_papers_tables(
    prepared: Path, weights: Path, tmp_path: Path
) -> None:
    """It trains its own judge; numbers and pictures of every run are there; maps may be added."""
    output = tmp_path / "study"
    done = run(prepared, output, weights, "--segmenter-steps", "2", "--maps", str(prepared / "val"))
    assert done.exit_code == 0, done.output
    for words in (
        "## Systems", "## Generators under our objective", "## Discriminators", "| pix2pix |",
        "## Instance maps", "| 0.7834 | 0.3948 |", "| real photographs |", "2 images",
    ):  # fmt: skip
        assert words in done.stdout
    assert "not run" not in done.stdout
    assert (output / "tables.md").read_text().strip() in done.stdout
    report = json.loads((output / "tables.json").read_text())
    assert report["runs"].keys() == STUDIES["paper"].runs.keys()
    ours = report["runs"]["ours"]["outcome"]
    assert f"| ours | {ours['pixel_accuracy']:.4f} | {ours['mean_iou']:.4f} |" in done.stdout
    with Image.open(output / "sheet.png") as sheet, Image.open(output / "maps.png") as maps:
        assert sheet.width == 9 * 32 + 8 * 4  # labels, seven runs, real photographs
        assert maps.width == 8 * 32 + 7 * 4

    again = run(prepared, output, weights, "--set", "ours:batch=2", "--segmenter-steps", "2")
    assert "begun with batch 1, not 2" in str(again.exception)


def test_a_stopped_study_goes_on(jobs: list[Job]) -> None:
    """What is finished is not done again."""
    seen: list[str] = []

    def stop(outcome: Outcome) -> None:
        raise KeyboardInterrupt(outcome.name)

    with pytest.raises(KeyboardInterrupt, match="pix2pix"):
        run_all(jobs, ["cpu"], threads=1, on_outcome=stop)
    trained = (jobs[0].folder / "checkpoint.safetensors").stat().st_mtime_ns
    assert not (jobs[1].folder / "outcome.json").exists()
    assert run_all(jobs, ["cpu"], threads=1, on_outcome=lambda o: seen.append(o.name))
    assert seen == ["pix2pix", "crn"]
    assert (jobs[0].folder / "checkpoint.safetensors").stat().st_mtime_ns == trained


def test_a_bundle_that_was_cut_off_is_written_again(jobs: list[Job]) -> None:
    """Killed between its files, the same run ends with a whole one."""
    (jobs[0].folder / "bundle").mkdir(parents=True)
    (jobs[0].folder / "bundle" / "generator.safetensors").write_bytes(b"half")
    assert run_all(jobs[:1], ["cpu"], threads=1)


def test_runs_side_by_side(jobs: list[Job]) -> None:
    """Two devices take a run each, in processes of their own that log beside their results."""
    seen: set[str] = set()
    assert run_all(jobs, ["cpu", "cpu"], threads=1, on_outcome=lambda o: seen.add(o.name))
    assert seen == {"pix2pix", "crn"}
    assert "2/2" in (jobs[0].folder / LOG).read_text()


def test_a_run_that_fails_side_by_side_is_named(jobs: list[Job]) -> None:
    """The error says which, why, and where its log is."""
    missing = [dataclasses.replace(jobs[0], test=jobs[0].folder / "nothing")]
    with pytest.raises(RunFailedError, match=r"run pix2pix failed: .*nothing.*pix2pix.*log\.txt"):
        run_all(missing, ["cpu", "cpu"], threads=1)


def test_a_data_set_without_a_test_part_is_refused(
    prepared: Path, weights: Path, tmp_path: Path
) -> None:
    """The message says what a prepared data set has."""
    done = run(prepared / "train", tmp_path, weights)
    assert isinstance(done.exception, FileNotFoundError)
    assert "needs train/ and val/" in str(done.exception)
    done = run(prepared, tmp_path, weights, "--preset", "nothing")
    assert "no study 'nothing'; there are paper, losses" in str(done.exception)
