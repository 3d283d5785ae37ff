"""Compare an engine's pixels with torch in float32 on drawn scenes, and record the difference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from model.bundle import Bundle, Parity
from model.checkpoint import load_generator
from model.codec import legal_size
from model.styles import hash_ids
from model.synthesis import Synthesis

Feeds = dict[str, NDArray[np.generic]]
RunEngine = Callable[[Feeds], NDArray[np.uint8]]

WITHIN_ONE = 0.999
"""At least this share of the values must agree to one grey level."""


class ParityError(RuntimeError):
    """An engine's photographs differ too much from torch's."""


def measure_parity(
    bundle: Bundle, run: RunEngine, sizes: tuple[tuple[int, int], ...], batch: int = 2
) -> Parity:
    """Run the engine and torch on the same scenes at each (width, height) and compare.

    ``sizes`` are rounded up to legal ones. Half of the scenes go in as one batch of ``batch``.
    """
    reference = Synthesis(bundle.input, load_generator(bundle)).eval()
    differences, scenes, names = [], 0, []
    rule = bundle.generator
    for size in sizes:
        height, width = legal_size(size[1], size[0], rule.size_multiple, rule.minimum_side)
        names.append(f"{width}x{height}")
        for count in (1, batch):
            feeds = random_scenes(bundle, count, height, width, seed=scenes)
            with torch.inference_mode():
                tensors = {k: torch.from_numpy(v) for k, v in feeds.items()}
                wanted = reference(**tensors).numpy()
            differences.append(np.abs(run(feeds).astype(np.int16) - wanted).ravel())
            scenes += count
    return summarise(np.concatenate(differences), scenes, tuple(names))


def summarise(difference: NDArray[np.int16], scenes: int, sizes: tuple[str, ...]) -> Parity:
    """Summarise absolute differences in grey levels."""
    return Parity(
        maximum=float(difference.max()),
        mean=round(float(difference.mean()), 6),
        percentile_99_9=float(np.percentile(difference, 99.9)),
        within_one=round(float((difference <= 1).mean()), 6),
        scenes=scenes,
        sizes=sizes,
    )


def check_parity(parity: Parity, what: str) -> None:
    """Raise ParityError when too many values differ by more than one grey level."""
    if parity.within_one < WITHIN_ONE:
        raise ParityError(
            f"{what}: only {100 * parity.within_one:.2f} % of the values agree with torch to one "
            f"grey level, {100 * WITHIN_ONE} % must (worst difference {parity.maximum:.0f}); "
            "nothing was written"
        )


def random_scenes(bundle: Bundle, count: int, height: int, width: int, seed: int) -> Feeds:
    """Blocky maps of all classes with random ids and styles, as the engine takes them."""
    rng = np.random.default_rng(seed)
    block = 16
    grid = (count, -(-height // block), -(-width // block))
    ids = rng.integers(0, 64, grid).repeat(block, 1).repeat(block, 2)[:, :height, :width]
    ids = np.ascontiguousarray(ids).astype(np.int32)
    # Every object keeps one class, as in real maps.
    classes = hash_ids(seed, np.arange(64)) % np.uint64(bundle.input.label_count)
    feeds: Feeds = {"label": classes[ids].astype(np.uint8), "instance": ids}
    if bundle.input.style_channels:
        feeds["style_index"] = ids
        codes = rng.uniform(-1, 1, (count, 64, bundle.input.style_channels))
        feeds["style_table"] = codes.astype(np.float32)
    return feeds
