"""Sample scenes as a visitor would upload them: raw maps as PNG files."""

from __future__ import annotations

import functools
import io
from typing import Literal

from PIL import Image

from model.classes import Classes
from model.scenes import CLASSES, PALETTE, draw_scene

SIDE = 512
"""Width and height of a sample scene in pixels."""


def fits(classes: Classes) -> bool:
    """Whether sample scenes are drawn in a model's classes."""
    return classes.names == CLASSES


# The page asks for both maps of a scene; drawing it costs more than keeping some.
@functools.lru_cache(maxsize=32)
def sample_maps(seed: int) -> dict[Literal["label", "instance"], bytes]:
    """Draw the scene of a seed: its label map (palette PNG) and instance map (16-bit grey PNG)."""
    scene = draw_scene(SIDE, SIDE, seed)
    label = Image.fromarray(scene.label)
    label.putpalette([level for colour in PALETTE for level in colour])
    return {"label": _png(label), "instance": _png(Image.fromarray(scene.instance))}


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
