"""What goes wrong in the middle of a run: a full disk, a torn photograph, a process that dies."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
from PIL import Image

from model.errors import MapError
from training.config import TrainConfig
from training.loop import train
from training.state import CHECKPOINT

SETTINGS = {
    "batch": 2, "crop": 32, "scale": (32, 48), "width": 4, "downsamplings": 2, "blocks": 1,
    "discriminator_width": 4, "checkpoint_every": 4, "device": "cpu", "perceptual": 0.0,
}  # fmt: skip


@pytest.fixture
def config(pairs_folder: Path) -> TrainConfig:
    """A run of four images."""
    return TrainConfig(str(pairs_folder), images=4, workers=0, **SETTINGS)  # type: ignore[arg-type]


def position(folder: Path) -> int:
    """How many images a checkpoint has seen."""
    with safetensors.safe_open(folder / CHECKPOINT, "pt") as saved:
        return int(saved.metadata()["position"])


def test_a_full_disk_keeps_the_last_checkpoint(config: TrainConfig, tmp_path: Path) -> None:
    """The command ends with one line that names the file; with room again it goes on."""
    train(config, tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    names = sorted(p.name for p in tmp_path.iterdir())
    command = [
        str(Path(sys.executable).with_name("hdsynth")), "train", config.data, "-o", str(tmp_path),
        "--images", "8", "--workers", "0", "--device", "cpu",
    ]  # fmt: skip
    for name, value in SETTINGS.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        command += ["--set", f"{name}={text}"]

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    assert len(before) > 100_000
    done = subprocess.run(command, preexec_fn=no_room, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"hdsynth: {tmp_path / CHECKPOINT}: file too large"
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert train(dataclasses.replace(config, images=8), tmp_path).position == 8


def test_a_torn_photograph_keeps_the_last_checkpoint(
    config: TrainConfig, pairs_folder: Path, tmp_path: Path
) -> None:
    """A file that breaks during the run is named, from a loading process too; then it goes on."""
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(pairs_folder, data)
    for path in (data / "image").iterdir():
        with Image.open(path) as photo:
            photo.save(path.with_suffix(".jpg"))
        path.unlink()
    config = dataclasses.replace(config, data=str(data), workers=1)
    train(config, run)
    photo_file = data / "image" / "3.jpg"
    whole = photo_file.read_bytes()
    photo_file.write_bytes(whole[: len(whole) // 2])
    longer = dataclasses.replace(config, images=14)
    with pytest.raises(MapError, match=r"image/3\.jpg") as raised:
        train(longer, run)
    assert "\n" not in str(raised.value)
    assert 4 <= position(run) < 14
    photo_file.write_bytes(whole)
    assert train(longer, run).position == 14


def test_torchrun_restarts_from_the_last_checkpoint(config: TrainConfig, tmp_path: Path) -> None:
    """A process dies: all start again where the first one's checkpoint ends.

    The other process has a folder of its own, as on another machine, and needs no checkpoint.
    """
    config = dataclasses.replace(config, images=12, batch=1)
    program = tmp_path / "run.py"
    program.write_text(
        "import json, os, signal, sys, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "import training.loop as loop; from training.config import TrainConfig\n"
        "rank, attempt = os.environ['RANK'], os.environ['TORCHELASTIC_RESTART_COUNT']\n"
        "step, started = loop.train_step, []\n"
        "def step_or_die(state, *others):\n"
        "    where = f'rank {rank} attempt {attempt} at {state.position}'\n"
        "    if not started: print(where, flush=True)\n"
        "    started.append(1)\n"
        "    if (rank, attempt) == ('1', '0') and state.position == 6:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return step(state, *others)\n"
        "loop.train_step = step_or_die\n"
        "fields = json.loads(sys.argv[1]); fields['scale'] = tuple(fields['scale'])\n"
        "loop.train(TrainConfig(**fields), Path(sys.argv[2]) / rank)\n"
    )
    torchrun = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "--max-restarts=1",
    ]  # fmt: skip
    fields = json.dumps(dataclasses.asdict(config))
    done = subprocess.run(
        [*torchrun, str(program), fields, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("rank")]
    assert sorted(said) == [
        "rank 0 attempt 0 at 0",
        "rank 0 attempt 1 at 4",
        "rank 1 attempt 0 at 0",
        "rank 1 attempt 1 at 4",
    ]
    assert position(tmp_path / "0") == 12
    assert not (tmp_path / "1" / CHECKPOINT).exists()
