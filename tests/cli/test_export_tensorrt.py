"""``hdsynth export``: TensorRT engines into the cache, and the Triton repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model.gpu import NoGpuError, compute_capability

# What the installed command does, and then whether torch was needed for it.
EXPORT = """
import sys
from cli.main import main
try:
    main(["export", *sys.argv[1:]])
finally:
    print("torch" if "torch" in sys.modules else "no torch")
"""


def export(*arguments: object, cache: Path) -> subprocess.CompletedProcess[str]:
    """Export with a cache of its own."""
    command = [sys.executable, "-c", EXPORT, *map(str, arguments)]
    environment = {**os.environ, "HDSYNTH_ENGINE_CACHE": str(cache)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def without_gpu() -> bool:
    """Say whether this machine lacks a GPU, by CUDA's own account."""
    try:
        compute_capability()
    except NoGpuError:
        return True
    return False


def test_engines_for_other_gpus(tiny_bundle: Path, tmp_path: Path) -> None:
    """One command builds for two architectures, without torch; the next finds both built."""
    options = [
        tiny_bundle, "--tensorrt-rtx", "--sizes", "64x32", "--sizes", "96x64", "--batches", "1,3",
        "--compute-capability", "8.6", "--compute-capability", "8.9",
    ]  # fmt: skip
    done = export(*options, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    *lines, torch = done.stdout.splitlines()
    assert [("-sm86-" in line, "-sm89-" in line) for line in lines] == [
        (True, False), (False, True),
    ]  # fmt: skip
    assert all("not compared with torch yet" in line for line in lines)
    assert torch == "no torch"
    engines = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.engine")}
    key = json.loads(min(engines).with_suffix(".json").read_text())["key"]
    assert [(p["width"], p["height"], p["batch"]) for p in key["profiles"]] == [
        (64, 32, 1), (64, 32, 3), (96, 64, 1), (96, 64, 3),
    ]  # fmt: skip
    again = export(*options, cache=tmp_path)
    assert again.stdout == done.stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.engine")} == engines


def test_triton_repository_of_the_graph(tiny_bundle: Path, tmp_path: Path) -> None:
    """The repository comes from the graph that the bundle has; nothing is exported again."""
    done = export(
        tiny_bundle, "--triton-repository", tmp_path / "models", "--triton-cpu", "--batches", "2",
        "--sizes", "64x32", cache=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"Triton model {tmp_path / 'models/tiny'}, version 1"
    text = (tmp_path / "models/tiny/config.pbtxt").read_text()
    assert "max_batch_size: 2" in text
    assert "64x32 batch 2" in text


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--compute-capability", "9.0"], 3, "cannot build for compute capability 9.0"),
        (["--batches", "1,x"], 2, "'1,x' are no batch sizes"),
        (["--batches", "0"], 2, "'0' are no batch sizes"),
        (["--sizes", "big"], 2, "'big' is not a size"),
        pytest.param(
            [], 1, "no CUDA device",
            marks=pytest.mark.skipif(not without_gpu(), reason="this machine has a GPU"),
        ),
    ],
)  # fmt: skip
def test_errors_name_the_option(
    options: list[str], code: int, words: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    """What cannot be built fails with one line and the exit code of its kind, writing nothing."""
    done = export(tiny_bundle, "--tensorrt-rtx", *options, cache=tmp_path / "cache")
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert not (tmp_path / "cache").exists()
