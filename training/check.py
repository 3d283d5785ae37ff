"""Examine a whole training folder before a GPU is touched: every file, every value.

Training stops at the first bad example it meets, hours into a run. This reads all of them, goes
on after each problem, and says of each what is wrong, where, and what to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.classes import Classes, read_classes, read_ignored
from model.codec import NO_CLASS, edge_map
from model.errors import MapError
from model.image_io import read_instance_map, read_label_map, read_photo
from model.map_io import FILE_MAX_PIXELS
from model.png_reader import read_png_header
from model.source_io import is_grey, source_channels
from training.layout import CLASSES_FILE, SUFFIXES, input_kind

# Files that somebody meant as a map or photograph, as opposed to notes and thumbnails.
_IMAGE_SUFFIXES = {".bmp", ".gif", ".jfif", ".avif", ".heic"}.union(*SUFFIXES.values())
# An 8-bit instance map with no more ids than this was scaled to black and white on its way.
_FEW_IDS = 2
# Drawings saved as 0 and 1 instead of 0 and 255 look black, to people and to networks.
_BLACK = 1
_UNREADABLE = "replace the file, or remove all files of this name"


@dataclass(frozen=True)
class Finding:
    """Something wrong, or worth a look, in one file."""

    path: Path
    message: str
    fix: str
    value: int | None = None
    """The offending pixel value."""
    pixel: tuple[int, int] | None = None
    """(x, y) of the first pixel that has it."""

    def __str__(self) -> str:
        """Return all of it as one line."""
        return f"{self.path}: {self.message}; {self.fix}"


@dataclass(frozen=True)
class Report:
    """What a folder holds and what is wrong with it."""

    pairs: int
    """Examples that have all their files."""
    sizes: dict[tuple[int, int], int]
    """(width, height) in pixels -> number of photographs."""
    shares: dict[str, float]
    """Class name -> share of the pixels of all readable label maps, 0..1."""
    ignore: tuple[int, ...]
    """Label values that mean "no class", as classes.json says."""
    ignored: float
    """Share of the pixels with such a value, 0..1."""
    source_channels: int | None
    """Channels that training takes of the source images, 1 or 3; None for label maps."""
    problems: list[Finding]
    """What training would stop at."""
    warnings: list[Finding]
    """What training accepts but probably isn't meant."""


@dataclass
class _Example:
    """The findings about one example."""

    size: tuple[int, int] | None = None
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Pixels per label value."""
    problems: list[Finding] = field(default_factory=list)
    few_ids: Path | None = None
    """The instance map, if it has 8 bits and hardly any ids."""
    repeats_label: bool = False
    """Whether the instance map shows the same borders as the label map."""
    coloured: Path | None = None
    """The source image, if it has colours."""
    dark: Path | None = None
    """The source image, if it is all but black."""


def check_folder(
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 2,
) -> Report:
    """Examine a training folder, laid out as ``training.layout`` says.

    ``progress`` is called with (done, total) after each example. Never raises for anything that
    is wrong with the data.
    """
    problems: list[Finding] = []
    classes, ignore = _read_classes(folder, problems)
    examples = complete_examples(folder, problems)
    sources = [files["source"] for files in examples.values() if "source" in files]
    found: list[_Example] = []
    pool = ThreadPoolExecutor(workers)
    try:
        jobs = pool.map(lambda files: _examine(files, classes, ignore), examples.values())
        for done, example in enumerate(jobs, start=1):
            found.append(example)
            problems += example.problems
            if progress:
                progress(done, len(examples))
    finally:
        # Whoever interrupts doesn't wait for the rest.
        pool.shutdown(cancel_futures=True)
    counts = np.zeros(1 << 16, np.int64)
    for example in found:
        counts[: len(example.counts)] += example.counts
    total = max(1, int(counts.sum()))
    named = dict(enumerate(classes.names)) if classes else {}
    shown = named or {int(value): str(value) for value in np.flatnonzero(counts)}
    channels = _source_channels(sources)
    return Report(
        pairs=len(examples),
        sizes=dict(Counter(example.size for example in found if example.size)),
        shares={name: int(counts[value]) / total for value, name in shown.items()},
        ignore=ignore,
        ignored=int(counts[list(ignore)].sum()) / total,
        source_channels=channels,
        problems=problems,
        warnings=_warnings(folder, named, counts, found) + _source_warnings(found, channels),
    )


def _read_classes(folder: Path, problems: list[Finding]) -> tuple[Classes | None, tuple[int, ...]]:
    """Return the classes, None if there are none to go by, and the label values to ignore."""
    path = folder / CLASSES_FILE
    has_source = (folder / "source").is_dir()
    if has_source and not path.exists():
        return None, ()
    fix = 'write {"classes": ["name of class 0", "name of class 1"]} to it'
    try:
        classes = read_classes(path)
        ignore = read_ignored(path, len(classes))
    except FileNotFoundError:
        problems.append(Finding(path, "missing; the number of classes is unknown", fix))
        return None, ()
    except ValueError as error:
        problems.append(Finding(path, str(error).removeprefix(f"{path}: "), fix))
        return None, ()
    if has_source and classes:
        fix = "remove the file, or put label maps into label/ and remove source/"
        problems.append(Finding(path, "names classes, but source/ holds pictures", fix))
    elif not has_source and not classes:
        fix = "name them, or rename label/ to source/ if it holds pictures"
        problems.append(Finding(path, "names no class", fix))
    elif len(classes) > NO_CLASS:
        fix = f"merge them to at most {NO_CLASS}"
        problems.append(Finding(path, f"names {len(classes)} classes", fix))
    else:
        return classes or None, ignore
    return None, ()


def complete_examples(folder: Path, problems: list[Finding]) -> dict[str, dict[str, Path]]:
    """Return name -> kind (a key of ``SUFFIXES``) -> file for examples that lack nothing.

    Appends to ``problems`` what is missing. Never raises for the contents of the folder.
    """
    try:
        kinds = [input_kind(folder), "image"]
    except ValueError:
        fix = "a data set has one of the two; remove the other"
        problems.append(Finding(folder, "has label/ and source/", fix))
        kinds = ["label", "image"]
    if (folder / "instance").is_dir():
        kinds.append("instance")
    files = {kind: _list(folder / kind, problems) for kind in kinds}
    names = sorted(set().union(*files.values()))
    complete = {}
    for name in names:
        example = {kind: files[kind][name] for kind in kinds if name in files[kind]}
        problems += [
            Finding(
                next(iter(example.values())),
                f"has no partner in {kind}/",
                f"add {kind}/{name}{SUFFIXES[kind][0]}, or remove this file",
            )
            for kind in kinds
            if files[kind] and kind not in example
        ]
        if len(example) == len(kinds):
            complete[name] = example
    return complete


def _list(folder: Path, problems: list[Finding]) -> dict[str, Path]:
    """Return name -> file for one folder."""
    accepted = SUFFIXES[folder.name]
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        suffix = path.suffix.lower()
        if suffix in accepted and path.stem in found:
            problems.append(
                Finding(path, f"shares its name with {found[path.stem].name}", "remove one of them")
            )
        elif suffix in accepted:
            found[path.stem] = path
        elif suffix in _IMAGE_SUFFIXES:
            fix = f"make it {' or '.join(accepted)} from the original, not from this file"
            problems.append(Finding(path, f"{suffix} is not read from {folder.name}/", fix))
    if not found:
        below = [path.name for path in (folder.parent / "train", folder.parent / "val")
                 if (path / folder.name).is_dir()]  # fmt: skip
        fix = (
            "a training folder has label/NAME.png (or source/NAME.jpg or .png, where there are no "
            f"labels) and image/NAME.jpg or .png; put them in {folder}"
        )
        if below:
            fix = f"check {' and '.join(below)} in {folder.parent} one by one"
        what = "holds no file that can be used" if folder.is_dir() else "missing"
        problems.append(Finding(folder, what, fix))
    return found


def _examine(files: dict[str, Path], classes: Classes | None, ignore: tuple[int, ...]) -> _Example:
    """Read all files of one example and compare them."""
    example = _Example()
    photo = _read(read_photo, files["image"], classes, example)
    kind = "source" if "source" in files else "label"
    label = _read(read_photo if kind == "source" else read_label_map, files[kind], classes, example)
    instance = (
        _read(read_instance_map, files["instance"], classes, example)
        if "instance" in files
        else None
    )
    if photo is not None:
        example.size = (photo.shape[1], photo.shape[0])
    if label is None:
        return example
    _check_size(files["image"], photo, files[kind], label, example)
    if kind == "source":
        example.coloured = None if is_grey(label) else files[kind]
        example.dark = files[kind] if label.max() <= _BLACK else None
    else:
        example.counts = np.bincount(label.ravel())
        if classes:
            _check_values(files[kind], label, len(classes), ignore, example)
    if instance is not None:
        _check_size(files["instance"], instance, files[kind], label, example)
        if instance.shape == label.shape:
            example.repeats_label = np.array_equal(edge_map(instance), edge_map(label))
        if _is_8_bit(files["instance"]) and len(np.unique(instance)) <= _FEW_IDS:
            example.few_ids = files["instance"]
    return example


def _read(
    reader: Callable[[Path], NDArray[Any]], path: Path, classes: Classes | None, example: _Example
) -> NDArray[Any] | None:
    try:
        return reader(path)
    except MapError as error:
        message, fix = str(error).removeprefix(f"{path}: "), _UNREADABLE
        if error.reason == "COLOUR_MAP":
            fix = _colour_hint(path, classes)
    except OSError as error:
        message, fix = str(error), "make the file readable"
    example.problems.append(Finding(path, message, fix))
    return None


def _colour_hint(path: Path, classes: Classes | None) -> str:
    """Say which classes the colours of a painted map stand for."""
    try:
        pixels = read_photo(path).reshape(-1, 3)
    except MapError:
        return _UNREADABLE
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    known = {colour: i for i, colour in enumerate(classes.palette)} if classes else {}
    order = np.argsort(-counts, kind="stable")
    painted = [tuple(int(level) for level in colours[i]) for i in order]
    matches = [f"{colour} = {known[colour]}" for colour in painted if colour in known]
    if len(matches) == len(painted):
        return f"its colours are those of classes.json: {', '.join(matches[:8])}" + (
            ", .." if len(matches) > 8 else ""
        )
    return (
        f"{len(matches)} of its {len(painted)} colours are in the palette of classes.json; "
        f"the most frequent are {', '.join(map(str, painted[:4]))}"
    )


def _check_size(
    path: Path, array: NDArray[Any] | None, label_path: Path, label: NDArray[Any], example: _Example
) -> None:
    if array is None or array.shape[:2] == label.shape[:2]:
        return
    example.problems.append(
        Finding(
            path,
            f"{array.shape[1]}x{array.shape[0]} pixels, but {label_path.parent.name}/"
            f"{label_path.name} has {label.shape[1]}x{label.shape[0]}",
            "resize both to one size, maps by nearest neighbour",
        )
    )


def _check_values(
    path: Path, label: NDArray[Any], count: int, ignore: tuple[int, ...], example: _Example
) -> None:
    """Report every label value that is no class, with its first pixel."""
    values = np.flatnonzero(example.counts)
    for value in values[(values >= count) & ~np.isin(values, ignore)].tolist():
        y, x = np.unravel_index(int((label == value).argmax()), label.shape)
        fix = "add the class to classes.json, or give these pixels another one"
        if value == NO_CLASS:
            fix = (
                '255 often means unlabelled: add "ignore": [255] to classes.json, or give these '
                "pixels a class of their own"
            )
        example.problems.append(
            Finding(
                path,
                f"value {value} at x={x}, y={y} ({example.counts[value]} pixels) is no class; "
                f"classes.json names {count}, 0 to {count - 1}",
                fix,
                value,
                (int(x), int(y)),
            )
        )


def _is_8_bit(path: Path) -> bool:
    if path.suffix.lower() != ".png":
        return False
    return read_png_header(path.read_bytes(), FILE_MAX_PIXELS, str(path)).depth <= 8


def _warnings(
    folder: Path, named: dict[int, str], counts: NDArray[np.int64], found: list[_Example]
) -> list[Finding]:
    warnings = []
    absent = [name for value, name in named.items() if not counts[value]]
    if absent and counts.any():
        warnings.append(
            Finding(
                folder / "classes.json",
                f"{len(absent)} of {len(named)} classes occur nowhere: {', '.join(absent)}",
                "a model cannot draw what it never saw; check the numbering of the label maps",
            )
        )
    few = [example.few_ids for example in found if example.few_ids]
    if few and 2 * len(few) >= len(found):
        warnings.append(
            Finding(
                few[0],
                f"8 bits and at most {_FEW_IDS} ids, like {len(few)} of {len(found)} instance maps",
                "write the ids themselves as 16-bit grey PNG, not scaled to black and white",
            )
        )
    if found and all(example.repeats_label for example in found):
        warnings.append(
            Finding(
                folder / "instance",
                "all instance maps show the borders of the label maps and no others",
                "remove the folder, or give neighbouring objects of one class ids of their own",
            )
        )
    return warnings


def _source_channels(sources: list[Path]) -> int | None:
    """Return what training will take of the source images; None where there are none to read."""
    try:
        return source_channels(sources) if sources else None
    except (MapError, OSError):
        return None


def _source_warnings(found: list[_Example], channels: int | None) -> list[Finding]:
    warnings = []
    coloured = [example.coloured for example in found if example.coloured]
    if channels == 1 and coloured:
        warnings.append(
            Finding(
                coloured[0],
                f"has colours, like {len(coloured)} of {len(found)} source images, but the set is "
                "read as grey",
                "only their brightness is used; remove them if that isn't meant",
            )
        )
    dark = [example.dark for example in found if example.dark]
    if dark:
        warnings.append(
            Finding(
                dark[0],
                f"is all but black, like {len(dark)} of {len(found)} source images",
                "save drawings with the values 0 and 255, not 0 and 1",
            )
        )
    return warnings
