"""How a frame's map travels: whole, or as the tiles that changed, whichever is smaller."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdsynth_client._wire import synthesis_pb2 as pb
from hdsynth_client.rpc import map_message
from hdsynth_client.types import Map

SIDE = 64
"""Tiles are multiples of this wide and this high, in pixels."""
MOST_CHANGED = 0.5
"""Share of changed tiles above which it is not tried whether tiles are smaller."""


class MapSender:
    """Remembers what the server has of one map."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._sent: NDArray[np.integer[Any]] | None = None

    def forget(self) -> None:
        """Send the next map whole: the server may not have what was sent."""
        self._sent = None

    def pack(self, map_: Map) -> tuple[pb.Map | None, list[pb.MapTile]]:
        """Return the map or its tiles; neither if nothing changed.

        An array must not be written to afterwards.
        """
        before = self._sent
        if not isinstance(map_, np.ndarray):
            self._sent = None
            return map_message(map_, self._name), []
        self._sent = map_
        if before is None or before.shape != map_.shape:
            return map_message(map_, self._name), []
        changed = _changed(before, map_)
        share = changed.mean()
        if share == 0:
            return None, []
        if share > MOST_CHANGED:
            return map_message(map_, self._name), []
        tiles = [self._tile(map_, *place) for place in _runs(changed)]
        whole = map_message(map_, self._name)
        if sum(tile.ByteSize() for tile in tiles) < whole.ByteSize():
            return None, tiles
        return whole, []

    def _tile(self, plane: NDArray[np.integer[Any]], row: int, first: int, last: int) -> pb.MapTile:
        y, x = row * SIDE, first * SIDE
        part = plane[y : y + SIDE, x : last * SIDE]
        return pb.MapTile(x=x, y=y, map=map_message(part, self._name))


def _changed(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which tiles differ, (rows, columns)."""
    differs = before != after
    rows = np.logical_or.reduceat(differs, np.arange(0, differs.shape[0], SIDE), axis=0)
    return np.logical_or.reduceat(rows, np.arange(0, differs.shape[1], SIDE), axis=1)


def _runs(changed: NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """Yield row, first column and column after the last of changed tiles side by side."""
    for row, tiles in enumerate(changed):
        steps = np.flatnonzero(np.diff(np.pad(tiles.astype(np.int8), 1)))
        for first, last in zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True):
            yield row, first, last
