"""What the runs of a study make of the same maps, side by side in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP, _HEADER = 4, 24
"""White pixels between pictures, and above them for the names."""


def write_side_by_side(
    path: Path, columns: Mapping[str, Sequence[Image.Image]], cell: int = 256
) -> None:
    """Write a picture (format by the name's ending) with a headed column for every name.

    Row i shows the i-th picture of each column, ``cell`` pixels wide. All columns must be equally
    long; raises ValueError for one that is not.
    """
    rows = len(next(iter(columns.values())))
    odd = [name for name, pictures in columns.items() if len(pictures) != rows]
    if odd:
        raise ValueError(f"column {odd[0]!r} has {len(columns[odd[0]])} pictures, not {rows}")
    cells = [[_scaled(picture, cell) for picture in pictures] for pictures in columns.values()]
    heights = [max(column[row].height for column in cells) for row in range(rows)]
    width = len(cells) * (cell + _GAP) - _GAP
    sheet = Image.new("RGB", (width, _HEADER + sum(heights) + _GAP * (rows - 1)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(max(9, min(16, cell // 9)))
    for i, (name, column) in enumerate(zip(columns, cells, strict=True)):
        left = i * (cell + _GAP)
        draw.text((left + cell // 2, _HEADER // 2), name, "black", font, anchor="mm")
        top = _HEADER
        for picture, height in zip(column, heights, strict=True):
            sheet.paste(picture, (left, top))
            top += height + _GAP
    sheet.save(path, quality=88)


def _scaled(picture: Image.Image, width: int) -> Image.Image:
    height = max(1, round(picture.height * width / picture.width))
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def spread(count: int, of: int) -> list[int]:
    """``count`` places spread evenly over 0 .. of - 1, all of them when there are fewer."""
    chosen: list[int] = np.linspace(0, of - 1, min(count, of)).round().astype(int).tolist()
    return chosen
