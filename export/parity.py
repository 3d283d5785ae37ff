"""Compare an engine's pixels with torch in float32, and record the difference.

Two kinds of scenes: blocks of random classes, ids and styles, which are harder than anything a
user sends, for engines that compute what torch computes; and real maps for quantised ones, which
know no other values than those that real maps give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model.bundle import Bundle, Parity, Precision
from model.checkpoint import load_encoder, load_generator
from model.styles import hash_ids
from model.synthesis import Encoding, Synthesis

Feeds = dict[str, NDArray[np.generic]]
RunEngine = Callable[[Feeds], NDArray[np.generic]]

GREY_LEVELS = 127.5
"""Grey levels per unit of what lies in [-1, 1], such as style codes."""


class ParityError(RuntimeError):
    """An engine's photographs differ too much from torch's."""


@dataclass(frozen=True)
class Tolerance:
    """How far an engine may be from torch, in grey levels."""

    within_one: float = 0.0
    """At least this share of the values must agree to one grey level."""
    mean: float = np.inf
    percentile_99_9: float = np.inf

    def faults(self, parity: Parity) -> list[str]:
        """Say what is wrong with a record."""
        faults = []
        if parity.within_one < self.within_one:
            faults.append(
                f"only {100 * parity.within_one:.2f} % of the values agree with torch to one grey "
                f"level, {100 * self.within_one} % must"
            )
        if parity.mean > self.mean:
            faults.append(f"the mean difference is {parity.mean:.2f} grey levels, {self.mean} may")
        if parity.percentile_99_9 > self.percentile_99_9:
            faults.append(
                f"one value in a thousand differs by {parity.percentile_99_9:.0f} grey levels or "
                f"more, {self.percentile_99_9:.0f} may"
            )
        return faults


SAME_PIXELS = Tolerance(within_one=0.999)
# The bundled model's photographs change by 5.1 grey levels in the mean and by 41 at the 99.9th
# percentile when they are saved as JPEG of quality 90, which nobody sees. A third of that is kept.
TOLERANCES: dict[Precision, Tolerance] = {
    "float32": SAME_PIXELS,
    "float16": SAME_PIXELS,
    "bfloat16": Tolerance(mean=1.0, percentile_99_9=8),
    "int8": Tolerance(mean=1.7, percentile_99_9=13),
}


@dataclass(frozen=True)
class Sample:
    """One batch and what torch makes of it."""

    feeds: Feeds
    wanted: NDArray[np.generic]
    """(N, H, W, 3) uint8 pixels, or (N, C, H, W) float32 style features."""


def generator_samples(bundle: Bundle, batches: Sequence[Feeds]) -> list[Sample]:
    """Run torch in float32 on batches for the bundle's generator; raises BundleError."""
    return _samples(Synthesis(bundle.input, load_generator(bundle)), batches)


def encoder_samples(bundle: Bundle, batches: Sequence[Feeds]) -> list[Sample]:
    """Run torch in float32 on batches for the bundle's style encoder; raises BundleError."""
    return _samples(Encoding(load_encoder(bundle)), batches)


def compare(samples: Sequence[Sample], run: RunEngine) -> Parity:
    """Run the engine on the samples and summarise how far it is from torch."""
    differences, scenes, sizes = [], 0, []
    for sample in samples:
        made = run(sample.feeds)
        scale = 1.0 if made.dtype == np.uint8 else GREY_LEVELS
        distance = np.abs(made.astype(np.float32) - sample.wanted.astype(np.float32)) * scale
        differences.append(distance.ravel())
        count, height, width = next(iter(sample.feeds.values())).shape[:3]
        scenes += count
        sizes.append(f"{width}x{height}")
    return summarise(np.concatenate(differences), scenes, tuple(dict.fromkeys(sizes)))


def measure_parity(
    bundle: Bundle, run: RunEngine, sizes: Sequence[tuple[int, int]], batch: int = 2
) -> Parity:
    """Compare a generator's engine with torch on random scenes of each (width, height)."""
    return compare(generator_samples(bundle, random_batches(bundle, sizes, batch)), run)


def summarise(
    difference: NDArray[np.floating | np.integer], scenes: int, sizes: tuple[str, ...]
) -> Parity:
    """Summarise absolute differences in grey levels."""
    return Parity(
        maximum=round(float(difference.max()), 3),
        mean=round(float(difference.mean(dtype=np.float64)), 6),
        percentile_99_9=round(float(np.percentile(difference, 99.9)), 3),
        within_one=round(float((difference <= 1).mean()), 6),
        scenes=scenes,
        sizes=sizes,
    )


def check_parity(parity: Parity, what: str, precision: Precision = "float32") -> None:
    """Raise ParityError when an engine of a precision is farther from torch than it may be."""
    if faults := TOLERANCES[precision].faults(parity):
        raise ParityError(
            f"{what} in {precision}: {'; '.join(faults)} (worst difference {parity.maximum:.0f})"
        )


def random_batches(bundle: Bundle, sizes: Sequence[tuple[int, int]], batch: int) -> list[Feeds]:
    """Random scenes at each (width, height), one alone and ``batch`` together."""
    counts = [(count, *size) for size in sizes for count in (1, batch)]
    return [
        random_scenes(bundle, count, height, width, seed=seed)
        for seed, (count, width, height) in enumerate(counts)
    ]


def random_scenes(bundle: Bundle, count: int, height: int, width: int, seed: int) -> Feeds:
    """Blocky maps of all classes with random ids and styles, as the engine takes them."""
    rng = np.random.default_rng(seed)
    spec, block = bundle.input, 16
    grid = (count, -(-height // block), -(-width // block))
    ids = rng.integers(0, 64, grid).repeat(block, 1).repeat(block, 2)[:, :height, :width]
    ids = np.ascontiguousarray(ids).astype(np.int32)
    if spec.label_count:
        # Every object keeps one class, as in real maps.
        classes = hash_ids(seed, np.arange(64)) % np.uint64(spec.label_count)
        feeds: Feeds = {"label": classes[ids].astype(np.uint8)}
    else:
        shape = (count, height, width, spec.image_channels)
        feeds = {"label": rng.integers(0, 256, shape, np.uint8)}
    if spec.edges:
        feeds["instance"] = ids
    if spec.style_channels:
        feeds["style_index"] = ids
        codes = rng.uniform(-1, 1, (count, 64, spec.style_channels))
        feeds["style_table"] = codes.astype(np.float32)
    return feeds


def random_photos(sizes: Sequence[tuple[int, int]], batch: int) -> list[Feeds]:
    """Noise of every brightness at each (width, height), as the style encoder takes it."""
    rng = np.random.default_rng(0)
    return [
        {"photo": rng.integers(0, 256, (count, height, width, 3), np.uint8)}
        for width, height in sizes
        for count in (1, batch)
    ]


def _samples(network: nn.Module, batches: Sequence[Feeds]) -> list[Sample]:
    network.eval()
    samples = []
    with torch.inference_mode():
        for feeds in batches:
            tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
            samples.append(Sample(feeds, network(**tensors).numpy()))
    return samples
