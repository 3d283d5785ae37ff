"""Measure a training step beside a plain loop over the same networks, in one run."""

from __future__ import annotations

import dataclasses
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.codec import prepare_maps
from model.scenes import PALETTE, draw_scene
from model.spec import InputSpec
from training.config import TrainConfig
from training.crops import Example, resize_example
from training.data import PairFolder, load_example
from training.heap import keep_freed_memory
from training.perceptual import perceptual_loss
from training.plain_loop import PlainLoop
from training.state import TrainingState
from training.step import train_step

Batch = Mapping[str, Tensor]

WARM_UP = 2
SMALL_STEPS = 1e-5
"""Learning rate: larger steps would let differences of rounding grow from step to step."""
TOLERANCE = 0.01
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


_PAGE = """\
# Training step beside a plain loop

Measured on {device}, Python {python}, torch {torch}. Batches of {config.batch}, {shape} pixels,
{instances:.0f} instances each. Generator of width {config.width} with {config.downsamplings}
downsamplings, {config.blocks} residual blocks, {config.enhancers} enhancers and {config.norm} norm;
{config.styles} style channels; discriminator of width {config.discriminator_width} at
{config.discriminator_scales} scales; perceptual network: {perceptual} (with random weights, for
time does not depend on them). The loops take turns, each in a process of its own, from the same
weights and on the same batches; medians of {counted} steps. The learning rate is 1e-5, so that
differences of rounding do not grow from step to step.

The plain loop does the work in the reference's order: float32, channels first, one-hot labels
built on the host, three passes of the discriminator, the generator's gradients computed for the
discriminator's weights too, styles averaged by a loop over ids, images and channels.

| loop | ms per iteration | iterations/s | ratio | memory | losses differ by at most |
|---|---|---|---|---|---|
{rows}

## Losses, step by step

| step | loop | {terms} |
|---|---|{rule}
{steps}

{published}"""


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
    peak_gb: float
    """Most memory in use at once: of a GPU's tensors, or of the whole process on a CPU."""
    losses: list[dict[str, float]]
    """Of every step, in order."""


def compare_loops(
    config: TrainConfig, spec: InputSpec, batches: Sequence[Batch], device: torch.device
) -> list[Measured]:
    """Time one step per batch of each loop in turn; the first ``WARM_UP`` are left out.

    The plain loop comes first in the result. All start from the same weights and see the same
    batches, each in a process of its own. The objective is the reference's: terms that are not
    in the paper are left out. With ``config.compile`` the compiled step is measured beside the
    one that is not. The plain loop always runs in float32.
    """
    config = dataclasses.replace(
        config, l1=0.0, colour=0.0, style_colour=0.0, enhancer_alone=0, learning_rate=SMALL_STEPS
    )
    eager = dataclasses.replace(config, compile=False)
    loops = {"plain loop, float32": (True, eager), f"hdsynth, {config.precision}": (False, eager)}
    if config.compile:
        loops[f"hdsynth, {config.precision}, compiled"] = (False, config)
    times: dict[str, list[float]] = {name: [] for name in loops}
    losses: dict[str, list[dict[str, float]]] = {name: [] for name in loops}
    with ExitStack() as stack:
        start = partial(ProcessPoolExecutor, 1, mp_context=get_context("spawn"))
        pools = {name: stack.enter_context(start()) for name in loops}
        arrays = [{name: tensor.numpy() for name, tensor in batch.items()} for batch in batches]
        for name, (plain, settings) in loops.items():
            threads = torch.get_num_threads()
            pools[name].submit(_begin, plain, settings, spec, arrays, device, threads).result()
        for index in range(len(batches)):
            for name, pool in pools.items():
                seconds, found = pool.submit(_take_turn, index).result()
                times[name].append(seconds)
                losses[name].append(found)
        peaks = {name: pool.submit(_peak_gb, device).result() for name, pool in pools.items()}
    return _summary(times, losses, peaks)


_turns: list[Callable[[int], dict[str, Tensor]]] = []
"""In a process that runs one loop: its step, by the number of the batch."""


def _begin(
    plain: bool,
    config: TrainConfig,
    spec: InputSpec,
    arrays: list[dict[str, NDArray[np.integer]]],
    device: torch.device,
    threads: int,
) -> None:
    """Build one loop in this process."""
    torch.set_num_threads(threads)
    batches = [{name: torch.from_numpy(a) for name, a in batch.items()} for batch in arrays]
    perceptual = None
    if config.perceptual:  # its time does not depend on its weights
        torch.manual_seed(config.seed)
        perceptual = perceptual_loss(config.perceptual_network, pretrained=False).to(device)
    state = TrainingState(config, spec, device)
    if plain:
        loop = PlainLoop(state, config, perceptual)
        _turns.append(lambda index: loop.step(batches[index]))
        return
    if device.type == "cpu":
        keep_freed_memory()
    state.prepare(config)
    adopted = state.adopt(perceptual, config) if perceptual else None
    _turns.append(lambda index: train_step(state, config, adopted, batches[index]))


def _take_turn(index: int) -> tuple[float, dict[str, float]]:
    """Make one step; returns its seconds and losses."""
    (turn,) = _turns
    started = time.perf_counter()
    found = {name: loss.item() for name, loss in turn(index).items()}  # waits for a GPU
    return time.perf_counter() - started, found


def _peak_gb(device: torch.device) -> float:
    """Most memory in GB: of the GPU's tensors, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def _summary(
    times: Mapping[str, list[float]],
    losses: Mapping[str, list[dict[str, float]]],
    peaks: Mapping[str, float],
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
    rows = [
        f"| {m.name} | {m.median_ms:.1f} | {m.iterations_per_s:.3f} | {m.ratio:.2f} | "
        f"{m.peak_gb:.2f} GB | {100 * m.difference:.3f} % |"
        for m in measured
    ]
    terms = list(measured[0].losses[0])
    steps = [
        f"| {step + 1} | {m.name} | " + " | ".join(f"{m.losses[step][t]:.5f}" for t in terms) + " |"
        for step in range(len(batches))
        for m in measured
    ]
    return _PAGE.format(
        device=device,
        python=platform.python_version(),
        torch=torch.__version__,
        shape="x".join(str(batches[0]["image"].shape[i]) for i in (3, 2)),
        instances=np.mean([int(ids.max()) + 1 for batch in batches for ids in batch["index"]]),
        perceptual=config.perceptual_network if config.perceptual else "none",
        counted=len(batches) - WARM_UP,
        config=config,
        rows="\n".join(rows),
        terms=" | ".join(terms),
        rule="---|" * len(terms),
        steps="\n".join(steps),
        published=PUBLISHED,
    )


def device_name(device: torch.device) -> str:
    """Name the processor or the GPU, and how many threads share the work."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"
