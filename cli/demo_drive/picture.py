"""Label map and photograph side by side, as files and as an animation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.scenes import PALETTE

GAP = 4
"""Pixels between the halves."""


def side_by_side(label: NDArray[np.uint8], photo: NDArray[np.uint8]) -> Image.Image:
    """Return the label map (H, W) in its display colours, and the photograph (H, W, 3) beside."""
    colours = np.array(PALETTE, np.uint8)[label]
    gap = np.full((label.shape[0], GAP, 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([colours, gap, photo], 1))


def write_animation(path: Path, pictures: Iterable[Image.Image], fps: float) -> None:
    """Write an endless animation; its suffix chooses the format.

    ``.gif`` has 256 colours for all pictures together, ``.webp`` all colours. Raises ValueError
    for another suffix.
    """
    first, *others = pictures
    options: dict[str, Any] = {"save_all": True, "loop": 0, "duration": round(1000 / fps)}
    match path.suffix.lower():
        case ".gif":
            palette = _palette([first, *others])
            first, *others = (
                picture.quantize(palette=palette, dither=Image.Dither.NONE)
                for picture in (first, *others)
            )
            first.save(path, append_images=others, optimize=True, **options)
        case ".webp":
            first.save(path, append_images=others, quality=80, method=4, **options)
        case suffix:
            raise ValueError(f"{path}: {suffix or 'no suffix'} is no animation; use .gif or .webp")


def _palette(pictures: list[Image.Image]) -> Image.Image:
    """Choose 256 colours from some of the pictures: a palette per picture would flicker."""
    some = pictures[:: max(1, len(pictures) // 8)]
    sheet = Image.new("RGB", (some[0].width, some[0].height * len(some)))
    for row, picture in enumerate(some):
        sheet.paste(picture, (0, row * picture.height))
    return sheet.quantize(256, method=Image.Quantize.MEDIANCUT)
