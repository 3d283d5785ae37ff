"""The training loop: one long function that reads from top to bottom."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.config import TrainConfig
from training.crops import crop_rule
from training.data import PairDataset, open_folder, run_loader
from training.files import replacing
from training.heap import keep_freed_memory
from training.interrupts import Interrupts
from training.journal import Journal
from training.perceptual import perceptual_loss
from training.processes import Processes, join_processes
from training.state import CHECKPOINT, TrainingState
from training.step import train_step

CONFIG_FILE = "config.json"

logger = logging.getLogger(__name__)


def learning_rate(config: TrainConfig, position: int) -> float:
    """Constant, then linear to zero over the last ``config.decay`` of the run."""
    left = (config.images - position) / max(1.0, config.decay * config.images)
    return config.learning_rate * max(0.0, min(1.0, left))


def train(config: TrainConfig, folder: Path) -> TrainingState:
    """Train into ``folder`` until ``config.images`` images are seen; the same call resumes.

    Writes config.json, checkpoint.safetensors, progress.jsonl, samples/ and tensorboard/. SIGTERM
    and Ctrl-C save a checkpoint and return early (``state.position < config.images``). Under
    ``torchrun`` every process takes ``config.batch`` images of each step, and the first one's
    folder counts. Raises ValueError, MapError or FileNotFoundError for unusable data, OSError
    naming a file that can't be written, and FloatingPointError when the losses are no numbers;
    whatever it raises, the last checkpoint is whole.
    """
    device = _device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    with join_processes(device) as processes, Interrupts() as interrupts:
        return _run(config, folder, device, processes, interrupts)


def _run(
    config: TrainConfig,
    folder: Path,
    device: torch.device,
    processes: Processes,
    interrupts: Interrupts,
) -> TrainingState:
    # Check what can be checked before anything is built or written.
    data = open_folder(Path(config.data))
    dataset = PairDataset(data, crop_rule(config), config.seed)
    dataset.require_one_size(config.batch)
    spec = data.input(config.styles, config.edges)
    if config.styles and config.norm == "instance" and not spec.edges:
        logger.warning(
            "instance norm removes a style code that is the same all over a picture; set norm to "
            "batch, styles to 0, or add instance maps"
        )
    if config.precision == "float16" and device.type == "cpu":
        logger.warning(
            "a CPU computes gradients of float16 convolutions some hundred times slower than "
            "those of float32; choose --precision bfloat16 or float32"
        )

    # Build the networks and go on where the folder's checkpoint ends.
    state = TrainingState(config, spec, device)
    perceptual = _perceptual(config, state)
    folder.mkdir(parents=True, exist_ok=True)
    if processes.writes:
        if (folder / CHECKPOINT).exists():
            state.load(folder)
        elif config.init:
            state.start_from(Path(config.init))
        with replacing(folder / CONFIG_FILE) as temporary:
            config.save(temporary)
    processes.share(tensor for _, tensor in state.tensors())
    state.position, scale = processes.share_object((state.position, state.scaler.state_dict()))
    if scale:
        state.scaler.load_state_dict(scale)
    if config.freeze_norms:
        # Small batches shift their own statistics, and with them the brightness of the styles.
        state.trained.eval()
    state.prepare(config)

    batches = run_loader(
        dataset, state.position, config.images, config.batch, config.workers, processes.rank,
        processes.count,
    )  # fmt: skip
    journal = Journal(folder, config, state.position) if processes.writes else None
    sums: dict[str, Tensor] = {}
    steps, stopping = 0, False
    with tqdm(
        total=config.images, initial=state.position, unit="img", dynamic_ncols=True,
        disable=journal is None,
    ) as bar:  # fmt: skip
        for batch in batches:
            for optimizer in (state.optimizer_g, state.optimizer_d):
                optimizer.param_groups[0]["lr"] = learning_rate(config, state.position)
            before = state.position
            # What dropout drops depends on the place in the run, so that a resumed run goes on as
            # one without a break.
            torch.manual_seed(config.seed + before + processes.rank * config.batch)
            for name, loss in train_step(state, config, perceptual, batch, processes).items():
                sums[name] = sums[name] + loss if name in sums else loss
            steps += 1
            bar.update(state.position - before)

            # Only now and then ask the device for numbers: every question makes it wait.
            stopping = processes.any_wants(interrupts.wanted, device)
            due = before // config.checkpoint_every != state.position // config.checkpoint_every
            ends = stopping or state.position >= config.images
            if not (due or ends or steps % 20 == 0):
                continue
            means = {name: total.item() / steps for name, total in sums.items()}
            if not all(math.isfinite(mean) for mean in means.values()):
                raise FloatingPointError(
                    f"the loss is not finite at image {state.position}; the last checkpoint in "
                    f"{folder} is intact. Lower --learning-rate or use --precision float32"
                )
            bar.set_postfix({name: f"{mean:.2f}" for name, mean in means.items()})
            if not (due or ends):
                continue

            # Save first, for what follows may find the disk full.
            sums, steps = {}, 0
            if journal:
                state.save(folder)
                for alarm in journal.write(state, dataset, data.classes, means):
                    logger.warning("after %d images: %s", state.position, alarm)
            if stopping:
                break
    if journal:
        journal.close()
    return state


def _perceptual(config: TrainConfig, state: TrainingState) -> nn.Module | None:
    if not config.perceptual:
        return None
    weights = Path(config.perceptual_weights) if config.perceptual_weights else None
    return state.adopt(perceptual_loss(config.perceptual_network, weights), config)


def _device(name: str) -> torch.device:
    """Each process of a machine takes the GPU of its own number."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if name == "cuda"
        else torch.device(name)
    )
