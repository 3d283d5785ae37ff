"""Loads what is compared of a scene, everything at one size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.codec import NO_CLASS, check_label_map
from model.image_io import read_instance_map, read_label_map, read_photo
from training.data import Pair

PROPORTION_TOLERANCE = 0.02
"""How far width / height of two pictures of one scene may differ, as a share."""


def check_complete(photos: Path, pairs: list[Pair]) -> None:
    """Raise FileNotFoundError unless ``photos`` has a PNG for every pair."""
    missing = [pair.name for pair in pairs if not (photos / f"{pair.name}.png").is_file()]
    if missing:
        raise FileNotFoundError(
            f"{photos}: {missing[0]}.png is missing ({len(missing)} of {len(pairs)} are); "
            "synthesise every label map of the data folder as PNG under its own name"
        )


def load_pictures(photos: list[Path], original: Path, size: int) -> NDArray[np.uint8]:
    """Return photographs and last the real one at the shorter side ``size``: (N, H, W, 3).

    Raises ValueError for one that is smaller or has other proportions than the real one.
    """
    paths = [*photos, original]
    pictures = [read_photo(path) for path in paths]
    for path, picture in zip(paths, pictures, strict=True):
        if min(picture.shape[:2]) < size:
            raise ValueError(
                f"{path}: {_size(picture)} pixels, smaller than the size {size} to compare at"
            )
        _check_proportions(path, picture, original, pictures[-1])
    height, width = pictures[-1].shape[:2]
    factor = size / min(height, width)
    target = round(width * factor), round(height * factor)
    resized = [Image.fromarray(p).resize(target, Image.Resampling.LANCZOS) for p in pictures]
    return np.stack([np.asarray(p) for p in resized])


def as_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """Photographs (N, H, W, 3) as (N, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def load_label(
    path: Path, count: int, ignore: tuple[int, ...], shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return a label map at (H, W); pixels of no class are ``NO_CLASS``. Raises MapError."""
    label = check_label_map(read_label_map(path), count, (NO_CLASS, *ignore), str(path))
    return np.asarray(Image.fromarray(label).resize(shape[::-1], Image.Resampling.NEAREST))


def load_instances(path: Path, shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return an instance map at (H, W), whole ids."""
    ids = read_instance_map(path).astype(np.int32)
    return np.asarray(Image.fromarray(ids).resize(shape[::-1], Image.Resampling.NEAREST))


def _check_proportions(
    path: Path, picture: NDArray[np.uint8], other_path: Path, other: NDArray[np.uint8]
) -> None:
    (height, width), (other_height, other_width) = picture.shape[:2], other.shape[:2]
    if abs(width * other_height / (height * other_width) - 1) > PROPORTION_TOLERANCE:
        raise ValueError(
            f"{path}: {_size(picture)} pixels, but {other_path} has {_size(other)}; "
            "both must show the whole scene"
        )


def _size(picture: NDArray[np.uint8]) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
