"""Find the maps, or source images, that the user means."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from training.layout import SUFFIXES, InputKind


def find_maps(
    sources: Iterable[Path], instances: Path | None, kind: InputKind = "label"
) -> list[tuple[Path, Path | None]]:
    """Return (label map, instance map or None) for files and folders named by the user.

    ``kind`` says whether the model takes label maps or source images. Raises ValueError when
    nothing is found, when two maps share a name, or when an instance folder lacks one of them.
    """
    found: dict[str, tuple[Path, Path | None]] = {}
    for source in sources:
        labels, beside = _labels(source, kind)
        folder = instances or beside
        for label in labels:
            if label.stem in found:
                raise ValueError(f"{label} and {found[label.stem][0]} would make the same file")
            found[label.stem] = (label, _instance(folder, label.stem) if folder else None)
    return [found[name] for name in sorted(found)]


def _labels(source: Path, kind: InputKind) -> tuple[list[Path], Path | None]:
    """Maps or pictures of one source, and the folder of instance maps that belongs to it."""
    if source.is_file():
        return [source], None
    folder = source / kind if (source / kind).is_dir() else source
    labels = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES[kind])
    if not labels:
        wanted = "PNG label maps" if kind == "label" else "PNG, JPEG or WebP source images"
        raise ValueError(f"{folder}: no {wanted} in it")
    beside = source / "instance"
    return labels, beside if folder != source and beside.is_dir() else None


def _instance(folder: Path, name: str) -> Path:
    for suffix in SUFFIXES["instance"]:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    raise ValueError(f"{folder}: no instance map named {name} (.png, .tif or .npy)")
