"""What every preparer shares: looking for files in a release, and writing the folder layout.

A preparer reads a public release into a ``Release``: its classes and, per example, a function
that loads it. ``write_release`` does the rest, so all data sets resume, resize and fail alike.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.classes import Classes
from model.codec import check_label_map
from model.errors import MapError
from model.image_io import encode_photo, read_photo
from training.layout import CLASSES_FILE

T = TypeVar("T", bound=np.integer)
Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")
RECORD_FILE = "prepare.json"


@dataclass(frozen=True)
class Example:
    """One example as the release has it."""

    photo: Path | NDArray[np.uint8]
    """A file, copied byte for byte unless it is resized, or (H, W, 3) uint8 RGB."""
    label: NDArray[np.integer] | None
    """(H, W) class ids; None in a release without classes."""
    instance: NDArray[np.integer] | None = None
    """(H, W) instance ids, 0 .. 65535."""
    draw: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None
    """Draws the source image (H, W) from the photograph (H, W, 3) at its final size, in a release
    without classes."""


@dataclass(frozen=True)
class Item:
    """Name and place of an example that is loaded when its turn comes."""

    split: Split
    name: str
    load: Callable[[], Example]


@dataclass(frozen=True)
class Release:
    """A public release, read but not yet converted."""

    name: str
    classes: Classes | None
    """None = the examples have source images in place of label maps."""
    items: list[Item]
    options: Mapping[str, str] = field(default_factory=dict)
    """Whatever else decides the result; a folder never mixes examples of two settings."""

    def __post_init__(self) -> None:
        """Refuse two examples of one name, which would overwrite each other."""
        counts = Counter((item.split, item.name) for item in self.items)
        twice = [f"{split}/{name}" for (split, name), count in counts.items() if count > 1]
        if twice:
            raise ValueError(f"{self.name}: the release lists {', '.join(twice[:3])} twice")


@dataclass(frozen=True)
class Progress:
    """How far a preparation is."""

    done: int
    total: int
    name: str
    """``split/name`` of the example that is now on disk."""


def require(path: Path, what: str) -> Path:
    """Return ``path`` if it exists; raises FileNotFoundError that says what belongs there."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: missing; expected {what}")
    return path


def files_by_name(folder: Path, ending: str) -> dict[str, Path]:
    """Map NAME to every file ``NAME + ending`` at any depth below ``folder``, sorted by name.

    Raises FileNotFoundError when there is none, ValueError when two files share a name.
    """
    found: dict[str, Path] = {}
    for path in sorted(require(folder, f"a folder with *{ending} files").rglob(f"*{ending}")):
        name = path.name.removesuffix(ending)
        if name in found:
            raise ValueError(f"{path} and {found[name]} share one name")
        found[name] = path
    if not found:
        raise FileNotFoundError(f"{folder}: no *{ending} file in it or below it")
    return found


def require_same_names(first: Mapping[str, Path], second: Mapping[str, Path], ending: str) -> None:
    """Raise FileNotFoundError for the first name that only one of the two has.

    ``ending`` is that of the second group's files, for the message.
    """
    for name in sorted(first.keys() - second.keys()):
        raise FileNotFoundError(f"{first[name]}: its partner {name}{ending} is missing")
    for name in sorted(second.keys() - first.keys()):
        raise FileNotFoundError(f"{second[name]}: its photograph is missing")


def write_release(
    release: Release, target: Path, size: int | None, workers: int
) -> Generator[Progress, None, None]:
    """Write ``target/{train,val}`` as ``training.layout`` says, with a classes.json each.

    ``size`` is the shorter side of the result in pixels (photographs Lanczos, maps nearest
    neighbour); None keeps the release's sizes. Examples that are already on disk are skipped,
    files appear whole or not at all. Raises ValueError for a target folder of other contents or
    settings, and MapError for an example that cannot be used.
    """
    if size is not None and size < 1:
        raise ValueError(f"size is {size}; give the shorter side in pixels, 1 or more")
    _claim(target, {"data set": release.name, "size": size, **release.options})
    splits = [split for split in SPLITS if any(item.split == split for item in release.items)]
    if release.classes:
        classes = {"classes": release.classes.names, "palette": release.classes.palette}
        for split in splits:
            _write_whole(target / split / CLASSES_FILE, _json(classes))
    total = len(release.items)
    pool = ThreadPoolExecutor(workers)
    try:
        written = pool.map(lambda item: _write_item(release, item, target, size), release.items)
        for done, name in enumerate(written, start=1):
            yield Progress(done, total, name)
    finally:
        # Whoever stops early doesn't wait for the rest.
        pool.shutdown(cancel_futures=True)


def _claim(target: Path, settings: Mapping[str, object]) -> None:
    """Record the settings in the target folder, or compare them with those of an earlier run."""
    record = target / RECORD_FILE
    if record.exists():
        earlier = json.loads(record.read_text(encoding="utf-8"))
        if earlier != settings:
            raise ValueError(f"{target}: holds data prepared with {earlier}, not {dict(settings)}; "
                             "choose another folder, or delete this one")  # fmt: skip
        return
    if target.is_dir() and any(target.iterdir()):
        raise ValueError(f"{target}: is not empty and was not prepared here; choose another folder")
    _write_whole(record, _json(settings))


def _write_item(release: Release, item: Item, target: Path, size: int | None) -> str:
    folder = target / item.split
    name = f"{item.split}/{item.name}"
    input_path = folder / ("label" if release.classes else "source") / f"{item.name}.png"
    # The model's input is written last: where there is one, the example is complete.
    if input_path.exists():
        return name
    example = item.load()
    stored = read_photo(example.photo) if isinstance(example.photo, Path) else example.photo
    photo = _resize(stored, size, Image.Resampling.LANCZOS)
    _require_same_size(example, stored, name)
    if example.instance is not None:
        ids = _resize(example.instance, size, Image.Resampling.NEAREST).astype(np.uint16)
        _write_whole(folder / "instance" / f"{item.name}.png", _png(ids))
    if isinstance(example.photo, Path) and photo is stored:
        suffix, data = example.photo.suffix.lower(), example.photo.read_bytes()
    else:
        suffix, data = ".png", encode_photo(photo, "png")
    _write_whole(folder / "image" / f"{item.name}{suffix}", data)
    _write_whole(input_path, _png(_input(release, example, photo, size, name)))
    return name


def _input(
    release: Release, example: Example, photo: NDArray[np.uint8], size: int | None, name: str
) -> NDArray[np.uint8]:
    """Return the label map or the source image (H, W) that belongs to the photograph."""
    if release.classes is None:
        assert example.draw is not None
        return example.draw(photo)
    assert example.label is not None
    label = _resize(example.label, size, Image.Resampling.NEAREST)
    return check_label_map(label, len(release.classes), name=name)


def _require_same_size(example: Example, photo: NDArray[np.uint8], name: str) -> None:
    for kind, ids in (("label", example.label), ("instance", example.instance)):
        if ids is not None and ids.shape != photo.shape[:2]:
            raise MapError(
                "SIZE_MISMATCH",
                f"{name}: the {kind} map has {ids.shape[1]}x{ids.shape[0]} pixels, but the "
                f"photograph {photo.shape[1]}x{photo.shape[0]}; the release is damaged, "
                "download it again",
            )


def _resize(array: NDArray[T], size: int | None, how: Image.Resampling) -> NDArray[T]:
    """Scale an image (H, W[, 3]) so that its shorter side is ``size``; None: the same array."""
    height, width = array.shape[:2]
    if size is None or size == min(height, width):
        return array
    new = round(width * size / min(height, width)), round(height * size / min(height, width))
    # Pillow resamples 32-bit integers, but not every narrower type of ids.
    source = array if array.ndim == 3 else array.astype(np.int32)
    return np.asarray(Image.fromarray(source).resize(new, how)).astype(array.dtype)


def _png(ids: NDArray[np.integer]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(ids).save(stream, "PNG")
    return stream.getvalue()


def _json(data: Mapping[str, object]) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode()


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # One fixed name, so that a file left by a killed run is overwritten by the next.
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
