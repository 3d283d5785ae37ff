"""Pairs of maps and photographs on disk, paired by file name, cropped and flipped for training.

Which image comes at which place of a run, and how it is cropped, depends only on the seed and
that place. So a resumed run sees exactly what an uninterrupted one would have seen.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from model.codec import prepare_maps
from model.errors import MapError
from model.image_io import read_instance_map, read_label_map, read_photo

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Pair:
    """Files of one training example."""

    name: str
    label: Path
    image: Path
    instance: Path | None


def find_pairs(folder: Path) -> list[Pair]:
    """Pair ``label/NAME.png``, ``image/NAME.*`` and ``instance/NAME.png`` by name.

    Sorted by name. Raises ValueError naming the first file without a partner, FileNotFoundError
    when a folder is missing or empty.
    """
    labels = _by_stem(folder / "label", (".png",))
    images = _by_stem(folder / "image", PHOTO_SUFFIXES)
    has_instances = (folder / "instance").is_dir()
    instances = (
        _by_stem(folder / "instance", (".png", ".tif", ".tiff", ".npy")) if has_instances else {}
    )
    for kind, found in (("image", images), ("instance", instances if has_instances else labels)):
        odd = sorted(set(labels) ^ set(found))
        if odd:
            where = kind if odd[0] in labels else "label"
            raise ValueError(f"{folder}: {odd[0]!r} has no file in {where}/")
    return [Pair(n, labels[n], images[n], instances.get(n)) for n in sorted(labels)]


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; a data set has label/ and image/")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes:
            if path.stem in found:
                raise ValueError(f"{path} and {found[path.stem]} share one name")
            found[path.stem] = path
    if not found:
        raise FileNotFoundError(f"{folder}: no {', '.join(suffixes)} files in it")
    return found


@dataclass(frozen=True)
class Example:
    """One example as arrays of equal height and width."""

    label: np.ndarray
    """(H, W) uint8 class ids."""
    instance: np.ndarray
    """(H, W) int32 instance ids; their borders are the edge channel."""
    index: np.ndarray
    """(H, W) int32 object numbers from 0; a style code belongs to an object."""
    image: np.ndarray
    """(H, W, 3) uint8."""


def load_example(pair: Pair, label_count: int) -> Example:
    """Read and check one example; raises MapError naming the file."""
    label = read_label_map(pair.label)
    image = read_photo(pair.image)
    raw = read_instance_map(pair.instance) if pair.instance else None
    for path, other in ((pair.image, image), (pair.instance, raw)):
        if other is not None and other.shape[:2] != label.shape:
            raise MapError(
                "SIZE_MISMATCH",
                f"{path}: {other.shape[1]}x{other.shape[0]} pixels, but {pair.label} has "
                f"{label.shape[1]}x{label.shape[0]}",
            )
    maps = prepare_maps(label, raw, label_count, name=str(pair.label))
    return Example(maps.label, maps.instance, maps.index, image)


def resize_example(example: Example, height: int, width: int) -> Example:
    """Resize to (height, width): the photograph bicubically, ids by their nearest pixel."""

    def resize(array: np.ndarray, resample: Image.Resampling) -> np.ndarray:
        return np.array(Image.fromarray(array).resize((width, height), resample))

    nearest = Image.Resampling.NEAREST
    return Example(
        resize(example.label, nearest),
        resize(example.instance, nearest),
        resize(example.index, nearest),
        resize(example.image, Image.Resampling.BICUBIC),
    )


class PairDataset(Dataset[dict[str, Tensor]]):
    """Random crops of the pairs; item ``i`` is the i-th image of the run, not the i-th file."""

    def __init__(
        self, pairs: list[Pair], label_count: int, crop: int, scale: tuple[int, int], seed: int
    ) -> None:
        if min(scale) < crop:
            raise ValueError(f"scale starts at {min(scale)}, smaller than the crop of {crop}")
        self.pairs, self.label_count = pairs, label_count
        self.crop, self.scale, self.seed = crop, scale, seed

    def __len__(self) -> int:
        """Number of files (a run may be longer: it goes round and round)."""
        return len(self.pairs)

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        """Return label (h, w) uint8, instance and index (h, w) int32, image (3, h, w) uint8."""
        epoch, place = divmod(position, len(self.pairs))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.pairs))
        example = load_example(self.pairs[order[place]], self.label_count)
        return self._augment(example, np.random.default_rng((self.seed, 1, position)))

    def _augment(self, example: Example, rng: np.random.Generator) -> dict[str, Tensor]:
        height, width = example.label.shape
        factor = rng.integers(self.scale[0], self.scale[1] + 1) / min(height, width)
        height = max(self.crop, round(height * factor))
        width = max(self.crop, round(width * factor))
        example = resize_example(example, height, width)
        top = int(rng.integers(height - self.crop + 1))
        left = int(rng.integers(width - self.crop + 1))
        window = np.s_[top : top + self.crop, left : left + self.crop]
        flip = -1 if rng.random() < 0.5 else 1

        def cut(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array[window][:, ::flip]))

        return {
            "label": cut(example.label),
            "instance": cut(example.instance),
            "index": cut(example.index),
            "image": cut(example.image).permute(2, 0, 1).contiguous(),
        }


class RunOrder(Sampler[list[int]]):
    """Batches of positions from ``start`` on, until position ``end - 1`` has been seen.

    Of every ``count * batch`` positions, process ``rank`` of ``count`` gets its own ``batch``.
    """

    def __init__(self, start: int, end: int, batch: int, rank: int = 0, count: int = 1) -> None:
        self.firsts = range(start + rank * batch, end + rank * batch, batch * count)
        self.batch = batch

    def __iter__(self) -> Iterator[list[int]]:
        """Batches in order; the last may reach beyond ``end``, so that all are of one size."""
        return (list(range(first, first + self.batch)) for first in self.firsts)

    def __len__(self) -> int:
        """How many batches are left."""
        return len(self.firsts)


def run_loader(
    dataset: PairDataset,
    start: int,
    end: int,
    batch: int,
    workers: int,
    rank: int = 0,
    count: int = 1,
) -> DataLoader[dict[str, Tensor]]:
    """Load positions ``start .. end - 1`` of the run in batches; see ``RunOrder``."""
    return DataLoader(
        dataset,
        batch_sampler=RunOrder(start, end, batch, rank, count),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals,
    )


def _leave_signals(_worker: int) -> None:
    """Let the main process alone answer signals: they often reach the whole process group."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
