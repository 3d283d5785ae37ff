"""The contact sheet of a training folder: what the maps say beside what the photographs show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.classes import Classes, distinct_colours, read_classes
from model.codec import NO_CLASS, connected_regions, edge_map
from model.errors import MapError
from model.image_io import read_instance_map, read_label_map, read_photo
from training.check import complete_examples
from training.layout import CLASSES_FILE

CELL = 256
"""Width of one picture on the sheet in pixels."""
GAP = 8
"""White pixels right of and below each example."""


def write_contact_sheet(folder: Path, path: Path, count: int = 16) -> None:
    """Write a PNG with up to ``count`` examples, spread evenly over the folder, two per row.

    Each shows the label map in its display colours or the source image, the borders between
    instances (without instance maps: between connected regions of the label map) and the
    photograph. Examples that can't be read are
    left out; ``check_folder`` names them. Raises ValueError when none can be shown.
    """
    classes = _classes(folder)
    examples = list(complete_examples(folder, []).values())
    chosen = np.linspace(0, len(examples) - 1, min(count, len(examples))).round().astype(int)
    strips = [s for s in (_strip(examples[i], classes) for i in chosen) if s is not None]
    if not strips:
        raise ValueError(f"{folder}: no example can be shown; check the folder first")
    columns = min(2, len(strips))
    rows = [_row(strips[i : i + columns], columns) for i in range(0, len(strips), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(path, "PNG")


def _classes(folder: Path) -> Classes:
    """Return the folder's classes, or colours for any label if they can't be used."""
    try:
        classes = read_classes(folder / CLASSES_FILE)
    except (FileNotFoundError, ValueError):
        classes = None
    if not classes or len(classes) > NO_CLASS:
        return Classes(("",) * NO_CLASS, tuple(distinct_colours(NO_CLASS)))
    return classes


def _strip(files: dict[str, Path], classes: Classes) -> list[NDArray[np.uint8]] | None:
    """Draw one example: three pictures of width CELL, which may differ in height."""
    try:
        if "source" in files:
            label = read_photo(files["source"])
        else:
            label = np.minimum(read_label_map(files["label"]), NO_CLASS).astype(np.uint8)
        if "instance" in files:
            ids = read_instance_map(files["instance"])
        elif "source" in files:
            ids = np.zeros(label.shape[:2], np.int32)  # a picture without instances is a single one
        else:
            ids = connected_regions(label)
        photo = read_photo(files["image"])
    except (MapError, OSError):
        return None
    borders = np.where(edge_map(ids), 0, 255).astype(np.uint8)
    parts = [classes.colour(label), np.repeat(borders[..., None], 3, axis=2), photo]
    return [_cell(part) for part in parts]


def _cell(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale a picture to the width CELL."""
    image = Image.fromarray(pixels)
    height = max(1, round(image.height * CELL / image.width))
    # Averaging keeps one-pixel borders visible as grey.
    return np.asarray(image.resize((CELL, height), Image.Resampling.BOX))


def _row(strips: list[list[NDArray[np.uint8]]], columns: int) -> NDArray[np.uint8]:
    """Lay examples side by side on white, with a gap around each."""
    height = max(len(cell) for strip in strips for cell in strip)
    row = np.full((height + GAP, columns * (3 * CELL + GAP), 3), 255, np.uint8)
    for i, strip in enumerate(strips):
        for k, cell in enumerate(strip):
            left = i * (3 * CELL + GAP) + k * CELL
            row[: len(cell), left : left + CELL] = cell
    return row
