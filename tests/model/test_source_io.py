"""Source images: pictures of any kind as the bytes that a model without labels starts from."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.errors import MapError
from model.source_io import decode_source, is_grey, read_source, source_channels

LIMIT = 1 << 20


def png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def decoded(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    """Send an image through PNG."""
    return decode_source(png(image), channels, max_pixels=LIMIT)


RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def test_grey_stays_as_it_is() -> None:
    """8-bit grey comes back exactly, as one channel or as three equal ones."""
    assert np.array_equal(decoded(Image.fromarray(RAMP), 1), RAMP[..., None])
    assert np.array_equal(decoded(Image.fromarray(RAMP), 3), np.repeat(RAMP[..., None], 3, 2))


def test_rgb_comes_as_colours_or_brightness() -> None:
    """Three channels are kept; a grey model gets the luma of ITU-R 601."""
    pixels = np.zeros((1, 3, 3), np.uint8)
    pixels[0, 0, 0] = pixels[0, 1, 1] = pixels[0, 2, 2] = 255
    assert np.array_equal(decoded(Image.fromarray(pixels), 3), pixels)
    assert decoded(Image.fromarray(pixels), 1)[0, :, 0].tolist() == [76, 150, 29]


def test_every_bit_depth_is_spread_over_a_byte() -> None:
    """16 bits lose their lower half, one bit becomes black and white, palettes their colours."""
    wide = Image.fromarray(RAMP.astype(np.uint16) * 257)
    assert np.array_equal(decoded(wide, 1)[..., 0], RAMP)
    assert np.unique(decoded(Image.fromarray(RAMP > 127), 1)).tolist() == [0, 255]
    painted = Image.new("P", (2, 1))
    painted.putpalette([10, 20, 30, 200, 100, 50])
    painted.putpixel((1, 0), 1)
    assert decoded(painted, 3).tolist() == [[[10, 20, 30], [200, 100, 50]]]


def test_transparency_is_laid_on_white() -> None:
    """A drawing on a transparent ground is one on paper."""
    assert decoded(Image.new("RGBA", (1, 1), (255, 0, 0, 0)), 3).tolist() == [[[255, 255, 255]]]
    assert decoded(Image.new("LA", (1, 1), (0, 0)), 1).tolist() == [[[255]]]


def test_unusable_files_are_named(tmp_path: Path) -> None:
    """The error begins with the file or the field."""
    path = tmp_path / "notes.png"
    path.write_text("no picture", encoding="utf-8")
    with pytest.raises(MapError, match=r"notes\.png: is of an unknown format"):
        read_source(path, 3)
    with pytest.raises(MapError, match="source: has 16x16 = 256 pixels; the limit is 255"):
        decode_source(png(Image.fromarray(RAMP)), 1, max_pixels=255)


def test_a_data_set_is_grey_if_its_pictures_are(tmp_path: Path) -> None:
    """Drawings saved as RGB are grey; one grey photograph does not make a data set grey."""
    colour = np.zeros((4, 4, 3), np.uint8)
    colour[..., 0] = 200
    paths = []
    for i in range(40):
        paths.append(tmp_path / f"{i}.jpg")
        Image.fromarray(np.full((4, 4, 3), 90, np.uint8)).save(paths[-1])
    assert is_grey(read_source(paths[0], 3))
    assert source_channels(paths) == 1
    Image.fromarray(colour).save(paths[-1])
    assert source_channels(paths) == 3
    assert source_channels(paths[:1]) == 1
