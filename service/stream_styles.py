"""Which style every object of a stream has, and which of them the client knows already."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.codec import Maps
from model.styles import StyleChoice, style_table

MAX_OBJECTS = 100_000
"""Objects that are remembered; above it, those that were not seen for longest are forgotten."""


class StyleMemory:
    """The styles of the objects that a stream has shown. Used by one thread at a time.

    An object is an instance with its class. Its style is drawn from seed, class and instance id
    alone (see ``model.styles``), so that it has the same one in every frame, whatever else is to
    be seen, and even after it has been forgotten here.
    """

    def __init__(self, bundle: Bundle, max_objects: int = MAX_OBJECTS) -> None:
        self._bundle, self._max_objects = bundle, max_objects
        self._keys = np.zeros(0, np.int64)
        self._codes = np.zeros((0, bundle.input.style_channels), np.float32)
        self._seen = np.zeros(0, np.int64)
        self._frames = 0

    def __len__(self) -> int:
        """Return how many objects are remembered."""
        return len(self._keys)

    def table(
        self, maps: Maps, choice: StyleChoice
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Return the codes (M, C) of a scene's objects, and the rows of those that are news.

        ``choice`` may name instances that the scene does not show. News are objects that were not
        seen before, or had another style. Raises MapError STYLE_NOT_FOUND or STYLE_INVALID.
        """
        channels = self._bundle.input.style_channels
        choice = _within(choice, maps.object_ids)
        scenes = self._bundle.scene_styles
        codes = style_table(maps, self._bundle.styles, channels, choice, scenes)
        if not channels:
            return codes, np.zeros(0, np.intp)
        return codes, self._remember(maps.object_ids * 256 + maps.object_labels, codes)

    def _remember(self, keys: NDArray[np.int64], codes: NDArray[np.float32]) -> NDArray[np.intp]:
        self._frames += 1
        places = np.searchsorted(self._keys, keys)
        known = np.zeros(len(keys), bool)
        inside = places < len(self._keys)
        known[inside] = self._keys[places[inside]] == keys[inside]
        same = known.copy()
        same[known] = (self._codes[places[known]] == codes[known]).all(1)
        self._codes[places[known]] = codes[known]
        self._seen[places[known]] = self._frames
        if not known.all():
            self._add(keys[~known], codes[~known])
        return np.flatnonzero(~same)

    def _add(self, keys: NDArray[np.int64], codes: NDArray[np.float32]) -> None:
        all_keys = np.concatenate([self._keys, keys])
        all_codes = np.concatenate([self._codes, codes])
        all_seen = np.concatenate([self._seen, np.full(len(keys), self._frames)])
        if len(all_keys) > self._max_objects:
            kept = np.argsort(all_seen, kind="stable")[-self._max_objects :]
            all_keys, all_codes, all_seen = all_keys[kept], all_codes[kept], all_seen[kept]
        order = np.argsort(all_keys)
        self._keys, self._codes, self._seen = all_keys[order], all_codes[order], all_seen[order]


def _within(choice: StyleChoice, ids: NDArray[np.int64]) -> StyleChoice:
    """Leave out the exceptions for instances that a scene does not show."""
    if not choice.instances:
        return choice
    shown = set(ids.tolist())
    return replace(choice, instances={i: s for i, s in choice.instances.items() if i in shown})
