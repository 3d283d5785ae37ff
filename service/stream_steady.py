"""What makes the photographs of a stream steadier, at the cost of some sharpness."""

from __future__ import annotations

import secrets

import numpy as np
from numpy.typing import NDArray

from model.styles import StyleChoice
from service.stream_arrival import Arrival
from service.stream_frames import View

HALVINGS = 1
"""A new photograph counts 1/2 to the power of this, what was shown before the rest."""


class StatisticsKey:
    """Which frames share normalisation statistics, for models that take them from each picture.

    A region has those of the whole picture before it, so that it fits in. In steady streams whole
    pictures keep those of their scene's first one, too.
    """

    def __init__(self, is_steady: bool) -> None:
        self._is_steady, self._key = is_steady, 0
        self._shows_regions = False
        self._last: tuple[tuple[int, ...], StyleChoice] | None = None

    def of(self, frame: Arrival, view: View) -> int:
        """Return the ``Scene.key`` of a frame; call it once for every frame, in their order."""
        if view.region is not None or frame.message.reduction > 1:
            self._shows_regions = True
            return self._key
        known = view.label.shape, frame.choice
        if not self._is_steady or frame.begins_scene or known != self._last:
            # A key of its own: nobody else's statistics are ever met.
            self._key = secrets.randbits(62) | 1 if self._is_steady or self._shows_regions else 0
        self._last = known
        return self._key


class Blend:
    """Blends a photograph with what was shown, wherever label and instance have not changed.

    That is an exponential mean over time: fluctuations of a pixel that shows the same object from
    frame to frame are damped, everything else is new at once. Used by one thread at a time.
    """

    def __init__(self) -> None:
        self._view: View | None = None
        self._shown: NDArray[np.uint16] = np.zeros(0, np.uint16)
        """Grey levels times 256, so that small differences do not get lost in rounding."""

    def blend(self, view: View, photo: NDArray[np.uint8], is_new_scene: bool) -> NDArray[np.uint8]:
        """Return what is to be shown of a photograph (H, W, 3) of a view."""
        fresh: NDArray[np.uint16] = np.left_shift(photo, 8, dtype=np.uint16)
        kept = None if is_new_scene else self._unchanged(view)
        self._view = view
        if kept is None:
            self._shown = fresh
            return photo
        mean = self._shown - (self._shown >> HALVINGS) + (fresh >> HALVINGS)
        self._shown = np.where(kept[..., None], mean, fresh)
        return ((self._shown + np.uint16(127)) >> 8).astype(np.uint8)

    def _unchanged(self, view: View) -> NDArray[np.bool_] | None:
        """Return which pixels show the same object as before; None if the frames cannot compare."""
        before = self._view
        if before is None or before.region != view.region or before.label.shape != view.label.shape:
            return None
        if (before.instance is None) != (view.instance is None):
            return None
        same: NDArray[np.bool_] = np.equal(before.label, view.label)
        if same.ndim == 3:  # a source image
            same = np.asarray(same.all(2), np.bool_)
        if before.instance is not None and view.instance is not None:
            same &= before.instance == view.instance
        return same
