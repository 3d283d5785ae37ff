"""The script that trains the bundled model again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from model.bundle import load_bundle
from tests.training.releases import write_facades

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "train": "--width 4 --blocks 1 --set discriminator_width=4 --perceptual 0 --set workers=0",
    "export": "--precision fp32 --parity-size 64x64",
}
"""What makes the recipe's networks small enough to try it."""


def test_release_to_bundle_and_again(tmp_path: Path) -> None:
    """All steps follow each other; the same command then finds everything done."""
    command = tmp_path / "hdsynth"
    cases = "\n".join(f'{name}) set -- "$@" {options} ;;' for name, options in SMALL.items())
    hdsynth = Path(sys.executable).with_name("hdsynth")
    command.write_text(f'#!/bin/sh\ncase $1 in\n{cases}\nesac\nexec {hdsynth} "$@"\n')
    command.chmod(0o755)
    release = write_facades(tmp_path / "release")
    for _ in range(2):
        done = subprocess.run(
            [ROOT / "models/reproduce-facades.sh", release, tmp_path / "work"],
            env={**os.environ, "HDSYNTH": str(command), "BUDGET": "0.0001"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    bundle = load_bundle(Path(done.stdout.splitlines()[-1]))
    assert (bundle.name, bundle.generator.kind) == ("facades", "global")
    assert bundle.generator.norm == "batch"
    assert bundle.input.style_channels == 3
    assert bundle.engine("onnx", "float32").parity.maximum <= 1
