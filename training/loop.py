"""The training loop: one long function that reads from top to bottom."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import time
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from model.classes import read_classes
from model.encoder import instance_mean
from model.inputs import network_input
from training.alarms import collapse_alarm, discriminator_alarm
from training.config import TrainConfig
from training.data import PairDataset, find_pairs, run_loader
from training.losses import (
    adversarial_loss,
    colour_loss,
    feature_matching_loss,
    generator_adversarial_loss,
)
from training.perceptual import perceptual_loss
from training.processes import Processes, join_processes
from training.sheet import write_sheet
from training.state import CHECKPOINT, TrainingState

CONFIG_FILE = "config.json"

logger = logging.getLogger(__name__)


def learning_rate(config: TrainConfig, position: int) -> float:
    """Constant, then linear to zero over the last ``config.decay`` of the run."""
    left = (config.images - position) / max(1.0, config.decay * config.images)
    return config.learning_rate * max(0.0, min(1.0, left))


def train(config: TrainConfig, folder: Path) -> TrainingState:
    """Train into ``folder`` until ``config.images`` images are seen; the same call resumes.

    Writes config.json, checkpoint.safetensors, progress.jsonl and sample sheets. SIGTERM and
    Ctrl-C save a checkpoint and return early (``state.position < config.images``). Under
    ``torchrun`` every process takes ``config.batch`` images of each step.
    Raises ValueError, MapError or FileNotFoundError for unusable data before any step.
    """
    device = _device(config.device)
    with join_processes(device) as processes:
        return _run(config, folder, device, processes)


def _run(
    config: TrainConfig, folder: Path, device: torch.device, processes: Processes
) -> TrainingState:
    # Set up.
    data = Path(config.data)
    classes = read_classes(data / "classes.json")
    pairs = find_pairs(data)
    dataset = PairDataset(pairs, len(classes), config.crop, config.scale, config.seed)
    state = TrainingState(config, len(classes), device)
    if config.crop % state.generator.spec.size_multiple:
        raise ValueError(
            f"crop {config.crop} is not a multiple of {state.generator.spec.size_multiple}"
        )
    perceptual = None
    if config.perceptual:
        weights = Path(config.perceptual_weights) if config.perceptual_weights else None
        perceptual = perceptual_loss(config.perceptual_network, weights).to(device)
        perceptual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / CHECKPOINT).exists():
        state.load(folder)
    elif config.init:
        state.start_from(Path(config.init))
    if processes.writes:
        config.save(folder / CONFIG_FILE)
    if config.freeze_norms:
        # Small batches shift their own statistics, and with them the brightness of the styles.
        state.trained.eval()

    # A signal lets the current step finish, so that no checkpoint is torn.
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    previous = {s: signal.signal(s, stop) for s in (signal.SIGTERM, signal.SIGINT)}
    loader = run_loader(
        dataset, state.position, config.images, config.batch, config.workers, processes.rank,
        processes.count,
    )  # fmt: skip
    bar = tqdm(
        total=config.images, initial=state.position, unit="img", dynamic_ncols=True,
        disable=not processes.writes,
    )  # fmt: skip
    log = (folder / "progress.jsonl").open("a", encoding="utf-8")
    half = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    started, start_position = time.monotonic(), state.position
    sums: dict[str, float] = {}
    steps = 0
    for batch in loader:
        for optimizer in (state.optimizer_g, state.optimizer_d):
            optimizer.param_groups[0]["lr"] = learning_rate(config, state.position)

        # Labels travel as integers and are expanded on the device.
        label, instance, index = (batch[k].to(device) for k in ("label", "instance", "index"))
        count = len(label)
        real = batch["image"].to(device).float().div(127.5).sub(1.0)
        real = real.contiguous(memory_format=torch.channels_last)
        condition = network_input(state.input, label, instance)
        with torch.autocast(device.type, half, enabled=half != torch.float32):
            parts = [condition]
            if state.encoder:
                parts.append(state.encoder(real, index))
            fake = state.generator(_channels_last(parts))
        losses: dict[str, Tensor] = {}
        if config.adversarial:
            # One pass of the discriminator judges fake and real images: instance norm keeps
            # them apart, and both losses share the result.
            both = torch.cat([_channels_last([condition, fake]), _channels_last([condition, real])])
            with torch.autocast(device.type, half, enabled=half != torch.float32):
                judged = state.discriminator(both)
            on_fake = [[t[:count] for t in scale] for scale in judged]
            on_real = [[t[count:] for t in scale] for scale in judged]
            judging = 0.5 * (
                adversarial_loss(on_fake, False, config.gan)
                + adversarial_loss(on_real, True, config.gan)
            )
            fooling = generator_adversarial_loss(on_fake, config.gan)
            losses["adversarial"] = config.adversarial * fooling
            losses["matching"] = config.feature_matching * feature_matching_loss(on_fake, on_real)
        if perceptual:
            with torch.autocast(device.type, half, enabled=half != torch.float32):
                losses["perceptual"] = config.perceptual * perceptual(fake, real)

        if config.l1:
            losses["l1"] = config.l1 * F.l1_loss(fake.float(), real)

        if config.colour:
            losses["colour"] = config.colour * colour_loss(fake, real)

        if config.style_colour:
            # Not in the paper: a code that starts as a colour teaches the generator at once what
            # codes are for, and gives people numbers that they understand.
            mean_colour = instance_mean(real, index)
            losses["style"] = config.style_colour * F.l1_loss(parts[1].float(), mean_colour)

        # Both gradients come from the weights before the step, as in the reference.
        generator_loss = torch.stack(list(losses.values())).sum()
        if config.adversarial:
            losses["discriminator"] = judging
            torch.autograd.backward(
                judging, inputs=list(state.discriminator.parameters()), retain_graph=True
            )
        alone = state.position < config.enhancer_alone
        moving = state.enhancer_parameters() if alone else list(state.trained.parameters())
        torch.autograd.backward(generator_loss, inputs=moving)
        processes.average_gradients([*moving, *state.discriminator.parameters()])
        for optimizer in (state.optimizer_g, state.optimizer_d):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        seen = count * processes.count
        state.position += seen
        state.average(seen, config.ema_images)
        if alone and state.position >= config.enhancer_alone:
            state.restart_generator_optimizer()  # the whole generator trains from here on

        # Report; the losses are those of the first process.
        stopping = processes.any_wants(stopping, device)
        steps += 1
        for key, loss in losses.items():
            sums[key] = sums.get(key, 0.0) + loss.item()
        if not all(math.isfinite(total) for total in sums.values()):
            raise FloatingPointError(
                f"the loss is not finite at image {state.position}; the last checkpoint in "
                f"{folder} is intact. Lower --learning-rate or use --precision float32"
            )
        bar.update(seen)
        if steps % 20 == 0:
            bar.set_postfix({k: f"{v / steps:.2f}" for k, v in sums.items()})
        due = state.position % config.checkpoint_every < seen
        if processes.writes and (due or stopping):
            means = {k: round(v / steps, 4) for k, v in sums.items()}
            speed = (state.position - start_position) / (time.monotonic() - started)
            record = {"images": state.position, "images_per_s": round(speed, 3), **means}
            log.write(json.dumps(record) + "\n")
            log.flush()
            sums, steps = {}, 0
            state.save(folder)
            sheet = folder / "samples" / f"{state.position:08d}.png"
            alarms = [collapse_alarm(*write_sheet(sheet, state, dataset, classes))]
            if config.adversarial:
                loss_d, scales = means["discriminator"], config.discriminator_scales
                alarms.append(discriminator_alarm(loss_d, config.gan, scales))
            for alarm in filter(None, alarms):
                logger.warning("after %d images: %s", state.position, alarm)
        if stopping:
            break
    for signal_number, handler in previous.items():
        signal.signal(signal_number, handler)
    bar.close()
    log.close()
    if processes.writes:
        state.save(folder)
    return state


def _channels_last(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts, dim=1).contiguous(memory_format=torch.channels_last)


def _device(name: str) -> torch.device:
    """Each process of a machine takes the GPU of its own number."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if name == "cuda"
        else torch.device(name)
    )
