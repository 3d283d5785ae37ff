"""Pairs of maps and photographs on disk, paired by file name, in the order of a training run.

Which image comes at which place of a run, and how it is cropped, depends only on the seed and
that place. So a resumed run sees exactly what an uninterrupted one would have seen.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from model.classes import Classes, read_classes, read_ignored
from model.codec import prepare_maps
from model.errors import MapError
from model.image_io import read_instance_map, read_label_map, read_photo, read_source
from model.source_io import source_channels
from model.spec import InputSpec
from training.crops import CropRule, Example
from training.layout import CLASSES_FILE, SUFFIXES, input_kind


@dataclass(frozen=True)
class Pair:
    """Files of one training example."""

    name: str
    label: Path
    """Label map, or the source image of a data set without labels."""
    image: Path
    instance: Path | None


def find_pairs(folder: Path) -> list[Pair]:
    """Pair ``label/NAME.png``, ``image/NAME.*`` and ``instance/NAME.png`` by name.

    Photographs or drawings in ``source/NAME.*`` may take the place of label maps. Sorted by name.
    Raises ValueError naming the first file without a partner, FileNotFoundError when a folder is
    missing or empty.
    """
    kind = input_kind(folder)
    labels = _by_stem(folder / kind, SUFFIXES[kind])
    images = _by_stem(folder / "image", SUFFIXES["image"])
    has_instances = (folder / "instance").is_dir()
    instances = _by_stem(folder / "instance", SUFFIXES["instance"]) if has_instances else {}
    for other, found in (("image", images), ("instance", instances if has_instances else labels)):
        odd = sorted(set(labels) ^ set(found))
        if odd:
            where = other if odd[0] in labels else kind
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
class PairFolder:
    """A training folder: its pairs, and what the inputs among them are."""

    pairs: list[Pair]
    classes: Classes
    """Empty where source images stand in for label maps."""
    ignore: tuple[int, ...] = ()
    """Label values that mean "no class"."""
    channels: int = 3
    """Channels of the source images."""

    @property
    def has_instances(self) -> bool:
        """Whether the examples come with instance maps."""
        return self.pairs[0].instance is not None

    def input(self, style_channels: int = 0, edges: bool = True) -> InputSpec:
        """Say what a generator trained on this folder takes; ``edges`` if it is shown borders.

        Without labels and without instance maps there are no borders for an edge channel.
        """
        return InputSpec(
            len(self.classes),
            edges=edges and (bool(self.classes) or self.has_instances),
            style_channels=style_channels,
            image_channels=self.channels,
        )


def open_folder(folder: Path) -> PairFolder:
    """Find the pairs of a training folder and read its classes.json.

    A folder with source/ in place of label/ needs no classes.json, and its classes are none.
    Raises ValueError and FileNotFoundError as ``find_pairs`` and ``read_classes`` do.
    """
    pairs = find_pairs(folder)
    path = folder / CLASSES_FILE
    if input_kind(folder) == "source":
        if path.is_file() and len(read_classes(path)):
            raise ValueError(
                f"{path}: names {len(read_classes(path))} classes, but source/ holds pictures; "
                "remove the classes, or put label maps into label/"
            )
        return PairFolder(pairs, Classes((), ()), (), source_channels([p.label for p in pairs]))
    classes = read_classes(path)
    if not classes:
        raise ValueError(f"{path}: names no class; a set without labels has source/, not label/")
    return PairFolder(pairs, classes, read_ignored(path, len(classes)))


def load_example(pair: Pair, spec: InputSpec, ignore: tuple[int, ...] = ()) -> Example:
    """Read and check one example for a model that takes ``spec``; raises MapError naming the file.

    Label values in ``ignore`` become "no class".
    """
    label: NDArray[Any] = (
        read_label_map(pair.label)
        if spec.label_count
        else read_source(pair.label, spec.image_channels)
    )
    image = read_photo(pair.image)
    raw = read_instance_map(pair.instance) if pair.instance else None
    for path, other in ((pair.image, image), (pair.instance, raw)):
        if other is not None and other.shape[:2] != label.shape[:2]:
            raise MapError(
                "SIZE_MISMATCH",
                f"{path}: {other.shape[1]}x{other.shape[0]} pixels, but {pair.label} has "
                f"{label.shape[1]}x{label.shape[0]}",
            )
    maps = prepare_maps(label, raw, spec.label_count, ignore, name=str(pair.label))
    return Example(maps.label, maps.instance, maps.index, image)


class PairDataset(Dataset[dict[str, Tensor]]):
    """Random crops of the pairs; item ``i`` is the i-th image of the run, not the i-th file."""

    def __init__(self, folder: PairFolder, rule: CropRule, seed: int) -> None:
        self.folder, self.rule, self.seed = folder, rule, seed

    def __len__(self) -> int:
        """Number of files (a run may be longer: it goes round and round)."""
        return len(self.folder.pairs)

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        """Return label (h, w) or (h, w, c) uint8, instance and index (h, w) int32, image (3, h, w).

        The image is uint8 like the label.
        """
        epoch, place = divmod(position, len(self))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self))
        pair = self.folder.pairs[order[place]]
        example = load_example(pair, self.folder.input(), self.folder.ignore)
        crop = self.rule.cut(example, np.random.default_rng((self.seed, 1, position)))
        return {
            "label": torch.from_numpy(np.ascontiguousarray(crop.label)),
            "instance": torch.from_numpy(np.ascontiguousarray(crop.instance)),
            "index": torch.from_numpy(np.ascontiguousarray(crop.index)),
            "image": torch.from_numpy(np.ascontiguousarray(crop.image.transpose(2, 0, 1))),
        }

    def require_one_size(self, batch: int) -> None:
        """Raise ValueError if crops may differ in size and so don't fit into one ``batch``.

        Reads the header of every photograph where the answer depends on it.
        """
        sizes: dict[tuple[int, int], Path] = {}
        for pair in self.folder.pairs if batch > 1 else ():
            for size in self.rule.sizes(*photo_size(pair.image)):
                sizes.setdefault(size, pair.image)
            if len(sizes) > 1:
                found = ", ".join(f"{w}x{h} ({path})" for (h, w), path in sizes.items())
                raise ValueError(
                    f"batch is {batch}, but resize {self.rule.resize!r} gives crops of different "
                    f"sizes: {found}; set batch to 1, resize to 'random_scale' or "
                    "'resize_and_crop', or scale to a single length"
                )


def photo_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels of an upright photograph, from its header alone."""
    with Image.open(path) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return image.size if turned else image.size[::-1]


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
) -> Iterator[dict[str, Tensor]]:
    """Load positions ``start .. end - 1`` of the run in batches; see ``RunOrder``.

    Raises MapError or OSError naming the file that can't be read when its turn comes.
    """
    loader: DataLoader[dict[str, Tensor] | Exception] = DataLoader(
        _Readable(dataset),
        batch_sampler=RunOrder(start, end, batch, rank, count),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
    )
    for loaded in loader:
        if isinstance(loaded, Exception):
            raise loaded
        yield loaded


class _Readable(Dataset[dict[str, Tensor] | Exception]):
    """Hands errors on as values: raised in a worker process they would lose type and message."""

    def __init__(self, dataset: PairDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, position: int) -> dict[str, Tensor] | Exception:
        try:
            return self.dataset[position]
        except (MapError, OSError) as error:
            return error


def _collate(examples: list[dict[str, Tensor] | Exception]) -> dict[str, Tensor] | Exception:
    for example in examples:
        if isinstance(example, Exception):
            return example
    batch: dict[str, Tensor] = default_collate(examples)
    return batch


def _leave_signals(_worker: int) -> None:
    """Let the main process alone answer signals: they often reach the whole process group."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
