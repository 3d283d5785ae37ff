"""The classes of a label map: names and display colours (``classes.json`` of a data set)."""

from __future__ import annotations

import colorsys
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Classes:
    """Names and display colours; position i describes label value i."""

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """(red, green, blue) 0..255 per class."""

    def __post_init__(self) -> None:
        """Refuse a palette that does not fit the names."""
        if len(self.names) != len(self.palette):
            raise ValueError(f"{len(self.names)} class names but {len(self.palette)} colours")

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.names)

    def index(self, name: str) -> int:
        """Class id for a name or for its number in decimal; raises ValueError listing the names."""
        if name in self.names:
            return self.names.index(name)
        if name.isdecimal() and int(name) < len(self):
            return int(name)
        raise ValueError(f"no class {name!r}; there are {', '.join(self.names)}")

    def colour(self, label: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Paint a label map (H, W) in the display colours: (H, W, 3) uint8; no class = white.

        A source image (H, W, 1 or 3), which stands in for a label map, comes as RGB.
        """
        if label.ndim == 3:
            return np.broadcast_to(label, (*label.shape[:2], 3))
        table = np.full((256, 3), 255, np.uint8)
        table[: len(self)] = self.palette
        return table[label]


def read_classes(path: Path) -> Classes:
    """Read ``{"classes": [names], "palette": [[r, g, b], ...]}``; the palette is optional.

    ``read_ignored`` reads what else may stand there.

    Raises FileNotFoundError, and ValueError naming the file when it has another form.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        names = tuple(str(name) for name in data["classes"])
        palette = data.get("palette") or distinct_colours(len(names))
        return Classes(names, tuple((int(r), int(g), int(b)) for r, g, b in palette))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{path}: expected {{"classes": [names], "palette": [[r, g, b], ...]}} ({error})'
        ) from error


def read_ignored(path: Path, count: int) -> tuple[int, ...]:
    """Read the label values that mean "no class" from classes.json: ``"ignore": [255]``, or 255.

    ``count`` is the number of classes. Raises FileNotFoundError, and ValueError for anything but
    a list of whole numbers in ``count`` .. 65535.
    """
    ignored = json.loads(path.read_text(encoding="utf-8")).get("ignore", [])
    ignored = ignored if isinstance(ignored, list) else [ignored]
    wrong = [v for v in ignored if type(v) is not int or not count <= v <= 0xFFFF]
    if wrong:
        raise ValueError(
            f'{path}: "ignore" names {wrong[0]!r}; a label value without a class is a whole '
            f"number in {count}..65535, because those below are classes"
        )
    return tuple(ignored)


def distinct_colours(count: int) -> list[tuple[int, int, int]]:
    """Return ``count`` colours that differ well: the hue advances by the golden ratio."""
    colours = []
    for i in range(count):
        rgb = colorsys.hsv_to_rgb(i * 0.618 % 1.0, 0.45 + 0.3 * (i % 2), 0.6 + 0.15 * (i % 3))
        colours.append((round(rgb[0] * 255), round(rgb[1] * 255), round(rgb[2] * 255)))
    return colours
