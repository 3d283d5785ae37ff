"""Read source images: the photographs or drawings that models without labels start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.map_io import FILE_MAX_PIXELS
from model.photo_io import decode_photo

_LOOKED_AT = 16


def decode_source(
    data: bytes, channels: int, *, max_pixels: int, name: str = "source"
) -> NDArray[np.uint8]:
    """Decode a source image from a JPEG, PNG or WebP file: (H, W, channels) uint8.

    ``channels`` is that of the model: 3 gives RGB, 1 its brightness (ITU-R 601 luma, which leaves
    grey as it is). Any bit depth, palette and transparency are read as ``decode_photo`` reads
    them, and the errors are the same.
    """
    pixels = decode_photo(data, max_pixels=max_pixels, name=name)
    if channels == 3:
        return pixels
    return np.array(Image.fromarray(pixels).convert("L"))[..., None]


def read_source(path: str | Path, channels: int) -> NDArray[np.uint8]:
    """Read a source image from a file; see ``decode_source``. Messages name the file."""
    data = Path(path).read_bytes()
    return decode_source(data, channels, max_pixels=FILE_MAX_PIXELS, name=str(path))


def source_channels(paths: Sequence[Path]) -> int:
    """Tell how many channels the source images of a data set need: 1 if they are grey, else 3.

    Looks at the pixels of up to 16 files spread over ``paths``, because drawings are often saved
    as RGB, and one grey photograph does not make a grey data set. Raises MapError.
    """
    places = np.linspace(0, len(paths) - 1, min(_LOOKED_AT, len(paths))).round().astype(int)
    grey = all(is_grey(read_source(paths[place], 3)) for place in places)
    return 1 if grey else 3


def is_grey(pixels: NDArray[np.uint8]) -> bool:
    """Whether an RGB image (H, W, 3) shows no colour anywhere."""
    return bool((pixels == pixels[..., :1]).all())
