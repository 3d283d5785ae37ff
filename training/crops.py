"""How an example becomes a training crop of a legal size: resize, cut out, warp and flip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from model.spec import EncoderSpec
from training.config import Resize, TrainConfig

_SQUARE: tuple[Resize, ...] = ("random_scale", "resize_and_crop")
_BY_WIDTH: tuple[Resize, ...] = ("scale_width", "scale_width_and_crop")
_WHOLE: tuple[Resize, ...] = ("scale_width", "none")

# A warp turns, stretches and shears by at most this much, and bends as far as this share of the
# shorter side between the nodes of a coarse grid. Streets and faces still look like themselves.
_TURN = np.radians(8)
_STRETCH = 0.12
_BEND = 0.03
_NODES = 4


@dataclass(frozen=True)
class Example:
    """One example as arrays of equal height and width."""

    label: NDArray[np.uint8]
    """(H, W) class ids, or the source image (H, W, C) of a data set without labels."""
    instance: NDArray[np.int32]
    """(H, W) instance ids; their borders are the edge channel."""
    index: NDArray[np.int32]
    """(H, W) object numbers from 0; a style code belongs to an object."""
    image: NDArray[np.uint8]
    """(H, W, 3) photograph."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.index.shape
        return height, width

    def each(self, change: Callable[[NDArray[Any], bool], NDArray[Any]]) -> Example:
        """Apply ``change(array, is_picture)`` to every array; ids are no picture."""
        return Example(
            change(self.label, self.label.ndim == 3),
            change(self.instance, False),
            change(self.index, False),
            change(self.image, True),
        )


@dataclass(frozen=True)
class CropRule:
    """How large the crops are and what of a photograph they show (``TrainConfig.resize``).

    Sides are always multiples of ``multiple`` and at least ``minimum``, so that no crop is refused
    by a network; where the reference's sizes are not, the nearest legal ones are taken.
    """

    resize: Resize
    crop: int
    """Longest side of a crop in pixels, in the modes that cut."""
    scale: tuple[int, int]
    """Least and greatest length in pixels that the modes with a scale resize to."""
    multiple: int
    warp: float = 0.0
    """Share of the crops that are warped, 0..1."""
    bottleneck: int = 2
    """Pixels a side that networks need where they are smallest; the U-Net is content with 1."""

    def __post_init__(self) -> None:
        """Raise ValueError for sizes that no network takes."""
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale is {self.scale}; give the least length first")
        if not 0 <= self.warp <= 1:
            raise ValueError(f"warp is {self.warp}; it is a share of the crops, 0..1")
        if self.resize in _WHOLE:
            return
        if self.crop % self.multiple or self.crop < self.minimum:
            raise ValueError(
                f"crop {self.crop} is not a multiple of {self.multiple}, at least {self.minimum}"
            )
        if self.resize != "crop" and self.scale[0] < self.crop:
            raise ValueError(
                f"scale starts at {self.scale[0]}, smaller than the crop of {self.crop}"
            )

    @property
    def minimum(self) -> int:
        """Shortest legal side in pixels."""
        return self.bottleneck * self.multiple

    def sizes(self, height: int, width: int) -> set[tuple[int, int]]:
        """Sizes (height, width) that crops of a picture of this size may have, at either end."""
        if self.resize in _SQUARE:
            return {(self.crop, self.crop)}
        return {self._window(*self._resized(height, width, length)) for length in self.scale}

    def usual_size(self, height: int, width: int) -> tuple[int, int]:
        """Size (height, width) of a whole picture halfway through the range of scales."""
        size = self._resized(height, width, sum(self.scale) // 2)
        return self._window(*size) if self.resize in _WHOLE else size

    def cut(self, example: Example, rng: np.random.Generator) -> Example:
        """Draw one crop of the example."""
        length = int(rng.integers(self.scale[0], self.scale[1] + 1))
        height, width = self._resized(*example.size, length)
        rows, columns = self._window(height, width)
        if self.resize in _WHOLE:
            height, width = rows, columns
        example = resize_example(example, height, width)
        top = int(rng.integers(height - rows + 1))
        left = int(rng.integers(width - columns + 1))
        flip = -1 if rng.random() < 0.5 else 1
        if self.warp and rng.random() < self.warp:
            y, x = warped_grid(rows, columns, rng) + np.array([top, left])[:, None, None]
            example = sample_example(example, y[:, ::flip], x[:, ::flip])
        else:
            window = np.s_[top : top + rows, left : left + columns]
            example = example.each(lambda array, _: array[window][:, ::flip])
        return example

    def _resized(self, height: int, width: int, length: int) -> tuple[int, int]:
        """Size that a picture is scaled to before it is cut."""
        if self.resize == "random_scale":
            factor = length / min(height, width)
            return max(self.crop, round(height * factor)), max(self.crop, round(width * factor))
        if self.resize == "resize_and_crop":
            return length, length
        if self.resize in _BY_WIDTH:
            height, width = round(height * length / width), length
        # A picture narrower than the networks take is stretched.
        return max(self.minimum, height), max(self.minimum, width)

    def _window(self, height: int, width: int) -> tuple[int, int]:
        """Size of the crop of a picture that has been scaled to (height, width)."""
        step = self.multiple
        if self.resize in _WHOLE:
            nearest = [max(self.minimum, (s + step // 2) // step * step) for s in (height, width)]
            return nearest[0], nearest[1]
        return min(self.crop, height // step * step), min(self.crop, width // step * step)


def crop_rule(config: TrainConfig) -> CropRule:
    """Return the rule of a run, at sizes that its generator and its style encoder take."""
    generator = config.generator_spec(1)
    multiple, minimum = generator.size_multiple, generator.minimum_side
    if config.styles:
        encoder = EncoderSpec().size_multiple
        multiple, minimum = max(multiple, encoder), max(minimum, 2 * encoder)
    bottleneck = -(-minimum // multiple)
    return CropRule(
        config.resize, config.crop, config.scale, multiple, config.warp, bottleneck=bottleneck
    )


def resize_example(example: Example, height: int, width: int) -> Example:
    """Resize to (height, width): pictures bicubically, ids by their nearest pixel."""

    def resize(array: NDArray[Any], picture: bool) -> NDArray[Any]:
        how = Image.Resampling.BICUBIC if picture else Image.Resampling.NEAREST
        flat = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
        return np.array(Image.fromarray(flat).resize((width, height), how)).reshape(
            height, width, *array.shape[2:]
        )

    return example.each(resize)


def warped_grid(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a smooth warp: the places (2, height, width), y then x, that a crop's pixels come from.

    An affine map about the centre (a turn, stretches and a shear), bent by displacements between
    the nodes of a coarse grid.
    """
    turn, shear = rng.uniform(-_TURN, _TURN, 2)
    stretch = np.exp(rng.uniform(-_STRETCH, _STRETCH, 2))
    sine, cosine = np.sin(turn), np.cos(turn)
    affine = np.array([[cosine, -sine], [sine + shear, cosine]]) * stretch
    centre = np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    places = np.tensordot(affine, np.indices((height, width)) - centre, axes=1) + centre
    bends = rng.normal(0, _BEND * min(height, width), (2, _NODES, _NODES))
    smooth = ndimage.zoom(bends, (1, height / _NODES, width / _NODES), order=3)
    warped: NDArray[np.float64] = places + smooth
    return warped


def sample_example(example: Example, y: NDArray[np.float64], x: NDArray[np.float64]) -> Example:
    """Take the pixels at the places y and x (h, w): ids nearest, pictures bilinearly.

    Beyond its border the picture is mirrored.
    """
    places = np.stack(
        [_mirror(at, side - 1) for at, side in zip((y, x), example.size, strict=True)]
    )
    row, column = np.rint(places).astype(np.intp)

    def sample(array: NDArray[Any], picture: bool) -> NDArray[Any]:
        if not picture:
            ids: NDArray[Any] = array[row, column]
            return ids
        planes = [
            ndimage.map_coordinates(array[..., c].astype(np.float32), places, order=1)
            for c in range(array.shape[2])
        ]
        pixels: NDArray[Any] = np.rint(np.stack(planes, axis=-1)).astype(np.uint8)
        return pixels

    return example.each(sample)


def _mirror(at: NDArray[np.float64], last: int) -> NDArray[np.float64]:
    """Fold places beyond 0 .. last back inside."""
    folded: NDArray[np.float64] = (last - np.abs(last - np.abs(at))).clip(0, last)
    return folded
