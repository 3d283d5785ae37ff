"""Flicker: how much photographs change from frame to frame where the scene does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Shot:
    """A frame and its photograph."""

    label: NDArray[np.integer]
    """(H, W) class ids."""
    instance: NDArray[np.integer]
    """(H, W) instance ids."""
    photo: NDArray[np.uint8]
    """(H, W, 3) RGB."""


def flicker(before: Shot, after: Shot, motion: NDArray[np.integer] | None = None) -> float:
    """Return the mean absolute change of a colour value in grey levels, 0..255.

    It counts the pixels that show the same object, label and instance, in both frames. ``motion``
    (H, W, 2) says by how many pixels, to the right and down, what a pixel of ``after`` shows has
    moved since ``before``; None = nothing has. Pixels that came from outside the frame do not
    count. NaN if no pixel counts. Raises ValueError if the sizes differ.
    """
    shape = before.label.shape
    parts = (
        before.instance,
        after.label,
        after.instance,
        before.photo[..., 0],
        after.photo[..., 0],
    )
    if any(part.shape != shape for part in parts):
        raise ValueError(f"two frames of one size are compared, not {shape} and others")
    rows, columns, inside = _origins(shape, motion)
    same = inside & (before.label[rows, columns] == after.label)
    same &= before.instance[rows, columns] == after.instance
    if not same.any():
        return float("nan")
    change = np.abs(before.photo[rows, columns].astype(np.int16) - after.photo)
    return float(change[same].mean())


def sharpness(photo: NDArray[np.uint8]) -> float:
    """Return the mean absolute Laplacian of the grey photograph (H, W, 3), in grey levels.

    Blurring lowers it; photographs of one scene can be compared.
    """
    grey = photo.astype(np.float32).mean(2)
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.abs(around - 4 * inner).mean())


def _origins(
    shape: tuple[int, ...], motion: NDArray[np.integer] | None
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Where each pixel was before, as rows and columns, and whether that is in the frame."""
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    if motion is None:
        return rows, columns, np.ones((height, width), bool)
    rows, columns = rows - motion[..., 1], columns - motion[..., 0]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return rows.clip(0, height - 1), columns.clip(0, width - 1), inside
