"""Scores through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.evaluate import export_segmenter
from cli.main import cli
from model.onnx_segmenter import OnnxSegmenter
from model.scenes import CLASSES, draw_scene


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three scenes with photographs of noise."""
    folder = tmp_path / "data"
    for kind in ("label", "image"):
        (folder / kind).mkdir(parents=True)
    (folder / "classes.json").write_text(json.dumps({"classes": CLASSES}))
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 256, (80, 96, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "image" / f"{seed}.png")
        Image.fromarray(draw_scene(96, 80, seed).label).save(folder / "label" / f"{seed}.png")
    return folder


def test_perfect_photographs_score_zero(data: Path, weights: Path, tmp_path: Path) -> None:
    """The real photographs themselves have no distance; the JSON file says the same."""
    done = CliRunner().invoke(cli, ["evaluate", str(data / "image"), str(data), "--weights",
                                    str(weights), "--size", "64", "-o",
                                    str(tmp_path / "s.json")])  # fmt: skip
    assert done.exit_code == 0, done.output
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["images"] == 3
    assert scores["lpips_alex"] == pytest.approx(0, abs=1e-6)
    assert scores["frechet_distance_alexnet_relu5"] == pytest.approx(0, abs=1e-3)


def test_a_trained_segmenter_judges(data: Path, weights: Path, tmp_path: Path) -> None:
    """Train it, use it: on the real photographs the ratio to the oracle is one."""
    judge = tmp_path / "judge.safetensors"
    runs = (
        ["train-segmenter", data, "--weights", weights, "-o", judge, "--steps", "1"],
        ["evaluate", data / "image", data, "--weights", weights, "--size", "64",
         "--segmenter", judge, "--void", "0", "-o", tmp_path / "s.json",
         "--report", tmp_path / "report.html", "--other-styles", data / "image"],
    )  # fmt: skip
    for arguments in runs:
        done = CliRunner().invoke(cli, list(map(str, arguments)))
        assert done.exit_code == 0, done.output
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["segmentation_raw"]["ratio"]["pixel_accuracy"] == pytest.approx(1)
    assert scores["void"] == [0]
    assert scores["diversity_lpips_alex"] == 0
    assert "ratio 1.000" in done.output
    assert "FID, KID                          not measured" in done.output
    assert "found in generated" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_an_exported_judge_says_what_it_is(data: Path, weights: Path, tmp_path: Path) -> None:
    """A segmenter becomes an ONNX file that knows its classes, void classes and size."""
    judge, graph = tmp_path / "judge.safetensors", tmp_path / "judge.onnx"
    train = ["train-segmenter", data, "--weights", weights, "-o", judge, "--steps", "1"]
    assert CliRunner().invoke(cli, list(map(str, train))).exit_code == 0
    arguments = [str(judge), "-o", str(graph), "--size", "64", "--void", "0"]
    done = CliRunner().invoke(export_segmenter, arguments)
    assert done.exit_code == 0, done.output
    assert f"{len(CLASSES)} classes, judges at 64 pixels" in done.output
    made = OnnxSegmenter(graph)
    assert (made.classes, made.void, made.size) == (CLASSES, (0,), 64)
