"""Training runs: they resume exactly, survive signals and end in a servable bundle."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image

from export.build import add_engines
from model.spec import Norm
from training.config import Precision, TrainConfig
from training.finish import write_bundle
from training.journal import PROGRESS, read_progress
from training.loop import learning_rate, train
from training.state import CHECKPOINT, TrainingState

SMALL = {
    "batch": 2, "crop": 32, "scale": (32, 48), "width": 4, "downsamplings": 2, "blocks": 1,
    "discriminator_width": 4, "workers": 0, "checkpoint_every": 4, "device": "cpu",
    "perceptual": 0.0,
}  # fmt: skip


@pytest.fixture
def config(pairs_folder: Path) -> TrainConfig:
    """A run of a few seconds on the drawn pairs."""
    return TrainConfig(data=str(pairs_folder), images=12, **SMALL)  # type: ignore[arg-type]


def checkpoint(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a run's checkpoint."""
    return safetensors.torch.load_file(folder / CHECKPOINT)


def test_learning_rate_is_constant_then_falls_to_zero(config: TrainConfig) -> None:
    """The second half falls linearly."""
    config = dataclasses.replace(config, images=100, decay=0.5, learning_rate=1.0)
    assert [learning_rate(config, n) for n in (0, 50, 75, 100)] == [1, 1, 0.5, 0]


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_killed_run_resumes_bit_for_bit(config: TrainConfig, tmp_path: Path, norm: Norm) -> None:
    """Killed with SIGKILL after a checkpoint, the same command ends with the same weights."""
    config = dataclasses.replace(config, norm=norm)
    train(config, tmp_path / "straight")
    killed = tmp_path / "killed"
    program = (
        "import os, signal, sys, json; from pathlib import Path; import training.loop as loop\n"
        "from training.config import TrainConfig; from training.state import TrainingState\n"
        "save = TrainingState.save\n"
        "def save_then_die(self, folder):\n"
        "    save(self, folder)\n"
        "    if self.position >= 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "TrainingState.save = save_then_die\n"
        "fields = json.loads(sys.argv[1]); fields['scale'] = tuple(fields['scale'])\n"
        "loop.train(TrainConfig(**fields), Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", program, json.dumps(dataclasses.asdict(config)), str(killed)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    died = subprocess.run(command, env=environment, check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL
    assert train(config, killed).position == 12
    straight, resumed = checkpoint(tmp_path / "straight"), checkpoint(killed)
    assert straight.keys() == resumed.keys()
    assert [k for k in straight if not torch.equal(straight[k], resumed[k])] == []


def test_training_moves_every_network(config: TrainConfig, tmp_path: Path) -> None:
    """Generator, encoder and discriminator all change, and the averages follow."""
    train(dataclasses.replace(config, images=2), tmp_path / "short")
    train(config, tmp_path / "long")
    before, after = checkpoint(tmp_path / "short"), checkpoint(tmp_path / "long")
    for part in ("trained.generator", "trained.encoder", "averaged.generator", "discriminator"):
        names = [k for k in before if k.startswith(part) and k.endswith("weight")]
        assert names
        assert all(not torch.equal(before[k], after[k]) for k in names)


def test_another_run_can_be_the_start(config: TrainConfig, tmp_path: Path) -> None:
    """``init`` takes over networks but not the position or the optimisers."""
    train(config, tmp_path / "first")
    second = dataclasses.replace(config, images=2, learning_rate=0.0, init=str(tmp_path / "first"))
    state = train(second, tmp_path / "second")
    assert state.position == 2
    first, now = checkpoint(tmp_path / "first"), checkpoint(tmp_path / "second")
    weights = [k for k in first if k.startswith("trained") and "running" not in k]
    assert all(torch.equal(first[k], now[k]) for k in weights)


def test_two_processes_make_the_steps_of_one(config: TrainConfig, tmp_path: Path) -> None:
    """Under torchrun, two processes of one image get the gradients of one with two."""
    one = dataclasses.replace(config, images=2, batch=2, checkpoint_every=2)
    train(one, tmp_path / "one")
    fields = json.dumps(dataclasses.asdict(dataclasses.replace(one, batch=1)))
    program = tmp_path / "run.py"
    program.write_text(
        "import json, sys, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from training.config import TrainConfig; from training.loop import train\n"
        "fields = json.loads(sys.argv[1]); fields['scale'] = tuple(fields['scale'])\n"
        "train(TrainConfig(**fields), Path(sys.argv[2]))\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(program), fields, str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    single, double = checkpoint(tmp_path / "one"), checkpoint(tmp_path / "two")
    for part in ("optimizer_g", "optimizer_d"):
        # After one step Adam's first mean is half the gradient.
        names = [k for k in single if k.startswith(part) and k.endswith("exp_avg")]
        wanted, found = (torch.cat([c[k].ravel() for k in names]) for c in (single, double))
        assert (found - wanted).norm() <= 1e-5 * wanted.norm()


def test_length_need_not_be_a_multiple_of_the_batch(config: TrainConfig, tmp_path: Path) -> None:
    """The last batch reaches beyond the end instead of being left out."""
    assert train(dataclasses.replace(config, images=3), tmp_path).position == 4


def test_global_run_grows_an_enhancer(config: TrainConfig, tmp_path: Path) -> None:
    """The enhancer trains alone while the generator inside rests; then both move."""
    config = dataclasses.replace(config, width=8, images=4)
    train(config, tmp_path / "global")
    local = dataclasses.replace(
        config, width=4, enhancers=1, enhancer_blocks=1, enhancer_alone=4, discriminator_scales=3,
        init=str(tmp_path / "global"),
    )  # fmt: skip
    train(local, tmp_path / "local")
    train(dataclasses.replace(local, images=8), tmp_path / "local-joint")
    inner, alone, joint = (checkpoint(tmp_path / n) for n in ("global", "local", "local-joint"))
    trunk = [k for k in alone if k.startswith("trained.generator.model.") and k in inner]
    enhancer = [k for k in alone if k.startswith("trained.generator.model1_")]
    assert len(trunk) > 4
    assert len(enhancer) > 4
    assert all(torch.equal(inner[k], alone[k]) for k in trunk)
    assert all(not torch.equal(alone[k], joint[k]) for k in trunk if k.endswith("weight"))
    steps = {float(joint[k]) for k in joint if k.startswith("optimizer_g") and k.endswith("step")}
    assert steps == {2.0}


def test_a_start_that_does_not_fit_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    """The error names the tensor, both shapes and the rule."""
    train(dataclasses.replace(config, images=2), tmp_path / "first")
    wider = dataclasses.replace(config, width=6, init=str(tmp_path / "first"))
    with pytest.raises(ValueError, match=r"model\.1\.weight has shape \[4, 15.*needs \[6, 15"):
        train(wider, tmp_path / "second")
    with pytest.raises(ValueError, match="must be the same"):
        train(dataclasses.replace(config, blocks=2), tmp_path / "first")


def test_settings_that_contradict_each_other_are_refused(config: TrainConfig) -> None:
    """Nothing is trained on settings that mean nothing together."""
    with pytest.raises(ValueError, match="enhancers is 0"):
        dataclasses.replace(config, enhancer_alone=5)
    with pytest.raises(ValueError, match="leave one of the three out"):
        dataclasses.replace(config, compile=True, checkpoint_blocks=True, norm="batch")
    with pytest.raises(ValueError, match="3 channels, not 2"):
        dataclasses.replace(config, style_colour=1.0, styles=2)


def test_sigterm_saves_and_stops(config: TrainConfig, tmp_path: Path) -> None:
    """A terminated command exits with 0, says how to go on, and has lost nothing."""
    command = [
        str(Path(sys.executable).with_name("hdsynth")), "train", config.data, "-o",
        str(tmp_path / "run"), "--images", "100000", "--crop", "32", "--scale", "32", "48",
        "--width", "4", "--downsamplings", "2", "--blocks", "1", "--set", "discriminator_width=4",
        "--checkpoint-every", "1000000", "--workers", "1", "--perceptual", "0",
    ]  # fmt: skip
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert run.stderr is not None
    seen = ""
    deadline = time.monotonic() + 120
    while "img/s" not in seen and time.monotonic() < deadline:
        seen += run.stderr.read(64)
    os.killpg(run.pid, signal.SIGTERM)  # the whole group, as a terminal or Kubernetes does
    _, rest = run.communicate(timeout=60)
    assert run.returncode == 0, seen + rest
    assert "the same command resumes" in rest
    with safetensors.safe_open(tmp_path / "run" / CHECKPOINT, "pt") as saved:
        assert int(saved.metadata()["position"]) > 0


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_run_ends_in_a_servable_bundle(config: TrainConfig, tmp_path: Path, norm: Norm) -> None:
    """Train, cluster, write, export: the bundle has styles for its classes and passes parity."""
    config = dataclasses.replace(config, norm=norm)
    state = train(config, tmp_path / "run")
    write_bundle(state, config, tmp_path / "bundle", "drawn")
    bundle = add_engines(tmp_path / "bundle", precisions=("float32",), sizes=((64, 48),))
    assert bundle.classes.names[3] == "facade"
    assert 1 <= len(bundle.styles[3]) <= 10
    assert bundle.trained_size == (32, 32)
    assert bundle.engine("onnx").parity.within_one >= 0.999


def test_sheets_show_map_synthesis_and_photograph(config: TrainConfig, tmp_path: Path) -> None:
    """Every checkpoint comes with a picture: three columns, a row per example."""
    train(config, tmp_path)
    with Image.open(tmp_path / "samples" / "00000012.png") as sheet:
        assert sheet.size == (3 * 32, 5 * 32)
    assert [record["images"] for record in read_progress(tmp_path / PROGRESS)] == [4, 8, 12]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_starts_at_the_losses_of_full(
    config: TrainConfig, tmp_path: Path, precision: Precision
) -> None:
    """Convolutions in 16 bits change the first losses by little, and the weights move.

    The first steps of float16 may be left out, until its loss scale fits.
    """
    config = dataclasses.replace(config, checkpoint_every=2)
    train(dataclasses.replace(config, images=2), tmp_path / "full")
    config = dataclasses.replace(config, precision=precision)
    state = train(config, tmp_path / "half")
    full, half = (next(read_progress(tmp_path / name / PROGRESS)) for name in ("full", "half"))
    for name in ("adversarial", "matching", "discriminator"):
        assert half[name] == pytest.approx(full[name], rel=0.03)
    fresh = TrainingState(config, state.input, torch.device("cpu"))
    for now, before in zip(state.parameters(), fresh.parameters(), strict=True):
        assert not torch.equal(now, before)


def test_float16_resumes_with_its_loss_scale(config: TrainConfig, tmp_path: Path) -> None:
    """The factor that keeps small gradients alive is part of the checkpoint."""
    config = dataclasses.replace(config, images=4, precision="float16")
    state = train(config, tmp_path)
    state.scaler.update(4.0)
    state.save(tmp_path)
    again = TrainingState(config, state.input, torch.device("cpu"))
    again.load(tmp_path)
    assert again.scaler.get_scale() == 4.0
    assert again.position == 4


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_checkpointed_blocks_train_the_same_weights(
    config: TrainConfig, tmp_path: Path, norm: Norm
) -> None:
    """Blocks computed twice give the same gradients, and count a batch's statistics once."""
    config = dataclasses.replace(config, norm=norm, images=4)
    train(config, tmp_path / "kept")
    train(dataclasses.replace(config, checkpoint_blocks=True), tmp_path / "again")
    kept, again = checkpoint(tmp_path / "kept"), checkpoint(tmp_path / "again")
    assert [k for k in kept if not torch.equal(kept[k], again[k])] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in torch's own compiler
def test_a_compiled_run_has_the_same_names(config: TrainConfig, tmp_path: Path) -> None:
    """A run may switch the compiler on and off between one start and the next."""
    config = dataclasses.replace(config, images=2, checkpoint_every=2)
    train(config, tmp_path)
    names = checkpoint(tmp_path).keys()
    with torch.compiler.set_stance("force_eager"):  # compiling takes a minute
        state = train(dataclasses.replace(config, images=4, compile=True), tmp_path)
    assert state.position == 4
    assert checkpoint(tmp_path).keys() == names
