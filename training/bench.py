"""Measure a training step beside a plain loop over the same networks, in one run."""

from __future__ import annotations

import copy
import dataclasses
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.codec import prepare_maps
from model.scenes import PALETTE, draw_scene
from model.spec import InputSpec
from training.config import TrainConfig
from training.crops import Example, resize_example
from training.data import PairFolder, load_example
from training.perceptual import perceptual_loss
from training.plain_loop import PlainLoop
from training.state import TrainingState
from training.step import train_step

Batch = Mapping[str, Tensor]
Step = Callable[[Batch], dict[str, Tensor]]

WARM_UP = 2
TOLERANCE = 0.02
"""Losses count as equal when they differ by no more than this share."""

PUBLISHED = """\
## The reference on an H100

One iteration of the reference's networks with generator, discriminator of two scales, feature
matching and VGG19, on an H100 with 80 GB and torch 2.11. Compare them with a run on the same
shapes alone (`--device cuda --preset global-512p --size 1024x512` and `--preset local-1024p
--size 2048x1024`, both with `--labels 35 --set styles=0 --set discriminator_scales=2`).

| shape | precision | ms per iteration | memory |
|---|---|---|---|
| 1024x512, global generator | float32 | 161 | |
| 1024x512, global generator | TF32 | 63 | |
| 1024x512, global generator | float16 autocast | 53.5 | 5.3 GB |
| 2048x1024, local enhancer | TF32 | 185 | 16.9 GB |
| 2048x1024, local enhancer | float16 autocast | 137 | 11 GB |
"""


@dataclass(frozen=True)
class Measured:
    """One way to make a step, over all timed steps."""

    name: str
    median_ms: float
    iterations_per_s: float
    ratio: float
    """Iterations per second as a multiple of the plain loop's."""
    difference: float
    """Largest relative difference of a loss to the plain loop's in the same step."""
    peak_gb: float | None
    """Most memory of the device in use at once; None on a CPU."""
    losses: list[dict[str, float]]
    """Of every step, in order."""


def compare_loops(
    config: TrainConfig, spec: InputSpec, batches: Sequence[Batch], device: torch.device
) -> list[Measured]:
    """Time one step per batch of each loop in turn; the first ``WARM_UP`` are left out.

    The plain loop comes first in the result. All start from the same weights and see the same batches. The objective is the reference's:
    terms that are not in the paper are left out. With ``config.compile`` the compiled step is
    measured beside the one that is not. The plain loop always runs in float32.
    """
    config = dataclasses.replace(config, l1=0.0, colour=0.0, style_colour=0.0, enhancer_alone=0)
    eager = dataclasses.replace(config, compile=False)
    torch.manual_seed(config.seed)
    perceptual = None
    if config.perceptual:  # its time does not depend on its weights
        perceptual = perceptual_loss(config.perceptual_network, pretrained=False).to(device)

    def plain() -> Step:
        return PlainLoop(TrainingState(eager, spec, device), eager, perceptual).step

    def ours(config: TrainConfig) -> Step:
        state = TrainingState(config, spec, device)
        network = state.adopt(copy.deepcopy(perceptual), config) if perceptual else None
        if config.checkpoint_blocks:
            state.checkpoint_blocks()
        if config.compile:
            state.compile()
        return lambda batch: train_step(state, config, network, batch)

    loops = {"plain loop, float32": plain, f"hdsynth, {config.precision}": partial(ours, eager)}
    if config.compile:
        loops[f"hdsynth, {config.precision}, compiled"] = partial(ours, config)
    return _summary(*_take_turns(loops, batches, device), _peaks(loops, batches[0], device))


def _take_turns(
    loops: Mapping[str, Callable[[], Step]], batches: Sequence[Batch], device: torch.device
) -> tuple[dict[str, list[float]], dict[str, list[dict[str, float]]]]:
    """Seconds and losses of every step of every loop."""
    steps = {name: build() for name, build in loops.items()}
    times: dict[str, list[float]] = {name: [] for name in loops}
    losses: dict[str, list[dict[str, float]]] = {name: [] for name in loops}
    for batch in batches:
        for name, step in steps.items():
            _wait(device)
            started = time.perf_counter()
            found = step(batch)
            _wait(device)
            times[name].append(time.perf_counter() - started)
            losses[name].append({key: loss.item() for key, loss in found.items()})
    return times, losses


def _peaks(
    loops: Mapping[str, Callable[[], Step]], batch: Batch, device: torch.device
) -> dict[str, float | None]:
    """Most memory of a GPU in GB that each loop uses when it runs alone; None on a CPU."""
    peaks: dict[str, float | None] = dict.fromkeys(loops)
    if device.type == "cuda":
        for name, build in loops.items():
            torch.cuda.empty_cache()
            step = build()
            for _ in range(WARM_UP):
                step(batch)
            torch.cuda.reset_peak_memory_stats(device)
            step(batch)
            peaks[name] = torch.cuda.max_memory_allocated(device) / 1e9
            del step
    return peaks


def _summary(
    times: Mapping[str, list[float]],
    losses: Mapping[str, list[dict[str, float]]],
    peaks: Mapping[str, float | None],
) -> list[Measured]:
    first, measured = next(iter(times)), []
    medians = {name: statistics.median(found[WARM_UP:]) for name, found in times.items()}
    for name, median in medians.items():
        measured.append(
            Measured(
                name,
                median_ms=1000 * median,
                iterations_per_s=1 / median,
                ratio=medians[first] / median,
                difference=_difference(losses[name], losses[first]),
                peak_gb=peaks[name],
                losses=losses[name],
            )
        )
    return measured


def _difference(found: list[dict[str, float]], wanted: list[dict[str, float]]) -> float:
    return max(
        abs(f[name] - w[name]) / abs(w[name])
        for f, w in zip(found, wanted, strict=True)
        for name in w
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def drawn_batches(
    spec: InputSpec, size: tuple[int, int], batch: int, count: int
) -> list[dict[str, Tensor]]:
    """Draw batches of facades with "photographs" that colour every class, ``size`` (width, height).

    ``spec`` may have more classes than the drawings.
    """
    palette, draws = np.array(PALETTE, np.uint8), np.random.default_rng(0)
    examples = []
    for seed in range(batch * count):
        scene = draw_scene(*size, seed)
        maps = prepare_maps(scene.label, scene.instance, spec.label_count)
        noise = draws.integers(0, 30, (*scene.label.shape, 3))
        photo = np.clip(palette[scene.label] + noise, 0, 255).astype(np.uint8)
        examples.append(Example(maps.label, maps.instance, maps.index, photo))
    return _batches(examples, batch)


def real_batches(
    data: PairFolder, size: tuple[int, int], batch: int, count: int
) -> list[dict[str, Tensor]]:
    """Load batches of a training folder, resized to ``size`` (width, height)."""
    width, height = size
    pairs = [data.pairs[i % len(data.pairs)] for i in range(batch * count)]
    examples = [load_example(pair, data.input(), data.ignore) for pair in pairs]
    return _batches([resize_example(e, height, width) for e in examples], batch)


def _batches(examples: list[Example], batch: int) -> list[dict[str, Tensor]]:
    def stacked(group: list[Example]) -> dict[str, Tensor]:
        arrays = {name: np.stack([getattr(e, name) for e in group]) for name in
                  ("label", "instance", "index", "image")}  # fmt: skip
        arrays["image"] = arrays["image"].transpose(0, 3, 1, 2)
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}

    return [stacked(examples[i : i + batch]) for i in range(0, len(examples), batch)]


def markdown(
    measured: Sequence[Measured], config: TrainConfig, batches: Sequence[Batch], device: str
) -> str:
    """Render what was measured, on what, and whether the losses were equal."""
    images = batches[0]["image"]
    objects = np.mean([int(ids.max()) + 1 for b in batches for ids in b["index"]])
    perceptual = config.perceptual_network if config.perceptual else "none"
    lines = [
        "# Training step beside a plain loop",
        "",
        f"Measured on {device}, Python {platform.python_version()}, torch {torch.__version__}. "
        f"Batches of {len(images)}, {images.shape[3]}x{images.shape[2]} pixels, "
        f"{objects:.0f} instances each; generator of width {config.width} with "
        f"{config.downsamplings} downsamplings, {config.blocks} residual blocks and {config.norm} "
        f"norm; {config.styles} style channels; discriminator of width "
        f"{config.discriminator_width} at {config.discriminator_scales} scales; perceptual network "
        f"{perceptual} (its weights random: time does not depend on them). Loops take turns, from "
        f"the same weights, on the same batches; medians of {len(batches) - WARM_UP} steps.",
        "",
        "The plain loop does the same work in the reference's order: float32, channels first, "
        "one-hot labels built on the host, three passes of the discriminator, the generator's "
        "gradients computed for the discriminator's weights too, styles averaged by a loop over "
        "instances.",
        "",
        "| loop | ms per iteration | iterations/s | ratio | memory | losses differ by at most |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {m.name} | {m.median_ms:.1f} | {m.iterations_per_s:.3f} | {m.ratio:.2f} | "
        f"{f'{m.peak_gb:.2f} GB' if m.peak_gb is not None else ''} | {100 * m.difference:.3f} % |"
        for m in measured
    ]
    lines += ["", "## Losses, step by step", ""]
    terms = list(measured[0].losses[0])
    lines += [f"| step | loop | {' | '.join(terms)} |", f"|---|---|{'---|' * len(terms)}"]
    for step in range(len(batches)):
        for m in measured:
            values = " | ".join(f"{m.losses[step][term]:.5f}" for term in terms)
            lines.append(f"| {step + 1} | {m.name} | {values} |")
    return "\n".join(lines) + "\n\n" + PUBLISHED


def device_name(device: torch.device) -> str:
    """Name the processor or the GPU, and how many threads share the work."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"
