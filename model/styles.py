"""Style codes: which appearance every object of a scene gets.

A model with styles carries, per class, the centres of K clusters of codes found in its training
photographs (paper section 3.4). A scene's table has one row per object; rows are chosen by a
hash of (seed, instance id), so the same seed gives the same picture on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from model.codec import Maps
from model.errors import MapError

StyleClusters = Mapping[int, NDArray[np.float32]]
"""Class id -> (K, C) cluster centres; classes without clusters get the neutral code 0."""


Style = int | tuple[float, ...]
"""A cluster number of the object's class, or an explicit code of C values in [-1, 1]."""


@dataclass(frozen=True)
class Between:
    """A style on the straight line from one style's code to another's."""

    first: Style
    second: Style
    at: float
    """0 = first .. 1 = second."""

    def __post_init__(self) -> None:
        """Refuse places off the line, where codes could leave [-1, 1]."""
        if not 0 <= self.at <= 1:
            raise ValueError(f'a style between two others lies at 0..1, not "at": {self.at}')


@dataclass(frozen=True)
class StyleChoice:
    """What the caller wants: a seed, and exceptions for single instances or whole classes."""

    seed: int = 0
    instances: Mapping[int, Style | Between] = field(default_factory=dict)
    """Instance id -> its style."""
    classes: Mapping[int, Style | Between] = field(default_factory=dict)
    """Class id -> style of its instances without an exception of their own."""


def style_table(
    maps: Maps,
    clusters: StyleClusters,
    channels: int,
    choice: StyleChoice,
    scenes: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return one code per object of the scene: (M, channels) float32.

    ``scenes`` (P, classes, channels) holds the mean codes of P typical photographs: the seed
    then picks one of them, and every instance draws among the styles of its class that are
    nearest to it, so that sky, walls and windows show one hour of one day. Without it every
    instance draws among all styles of its class, as in the reference.

    Raises MapError STYLE_NOT_FOUND or STYLE_INVALID naming the instance and what is allowed.
    """
    draws = hash_ids(choice.seed, maps.object_ids)
    table = np.zeros((len(maps.object_ids), channels), np.float32)
    scene = None
    if scenes is not None and len(scenes):
        scene = scenes[int(hash_ids(choice.seed, np.array([-1]))[0] % np.uint64(len(scenes)))]
    for label in np.unique(maps.object_labels).tolist():
        rows = np.flatnonzero(maps.object_labels == label)
        centres = clusters.get(label)
        if label in choice.classes:
            table[rows] = _wished(
                choice.classes[label], centres, channels, int(maps.object_ids[rows[0]])
            )
        elif centres is not None:
            likely = centres if scene is None else _nearest(centres, scene[label])
            table[rows] = likely[(draws[rows] % np.uint64(len(likely))).astype(np.intp)]
    # The ids are in ascending order, so that each is found without a pass over all of them.
    for instance, wish in choice.instances.items():
        start, stop = np.searchsorted(maps.object_ids, [instance, instance + 1])
        if start == stop:
            raise MapError(
                "STYLE_NOT_FOUND",
                f"styles name instance {instance}, which is not in the instance map",
            )
        for row in range(start, stop):
            centres = clusters.get(int(maps.object_labels[row]))
            table[row] = _wished(wish, centres, channels, instance)
    return table


def _nearest(centres: NDArray[np.float32], code: NDArray[np.float32]) -> NDArray[np.float32]:
    """The third of the centres that lies nearest to a code."""
    order = np.argsort(np.square(centres - code).sum(1), kind="stable")
    nearest: NDArray[np.float32] = centres[order[: -(-len(centres) // 3)]]
    return nearest


def style_wish(value: object) -> Style | Between:
    """Read one style from JSON; raises ValueError.

    It is a cluster number, a code as a list of numbers, or ``{"between": [first, second],
    "at": 0.3}`` with two of those.
    """
    if not isinstance(value, dict):
        return _style(value)
    ends, at = value.get("between"), value.get("at")
    if len(value) != 2 or not isinstance(ends, list) or len(ends) != 2 or not _is_number(at):
        raise ValueError(
            f'a style between two others is {{"between": [first, second], "at": 0..1}}, not {value}'
        )
    return Between(_style(ends[0]), _style(ends[1]), at)


def _style(value: object) -> Style:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, list) and value and all(map(_is_number, value)):
        return tuple(map(float, value))
    raise ValueError(f"a style is a whole number or a list of numbers, not {value!r}")


def _is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a number that a float can hold; NaN and infinity are none."""
    return type(value) in {int, float} and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def hash_ids(seed: int, ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Mix a seed with ids into 64 well-spread bits each (the SplitMix64 finaliser)."""
    with np.errstate(over="ignore"):
        x = ids.astype(np.uint64) + np.uint64(seed % 2**64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _wished(
    wish: Style | Between,
    centres: NDArray[np.float32] | None,
    channels: int,
    instance: int,
) -> NDArray[np.float32]:
    if isinstance(wish, Between):
        first, second = (
            _wished(style, centres, channels, instance) for style in (wish.first, wish.second)
        )
        return (1 - wish.at) * first + wish.at * second
    if isinstance(wish, int):
        count = 0 if centres is None else len(centres)
        if centres is None or not 0 <= wish < count:
            raise MapError(
                "STYLE_NOT_FOUND",
                f"instance {instance}: there is no style {wish}; its class has {count} styles"
                + (f", 0 to {count - 1}" if count else ""),
            )
        return np.asarray(centres[wish], np.float32)
    code = np.asarray(wish, np.float32)
    if code.shape != (channels,) or not np.isfinite(code).all() or (np.abs(code) > 1).any():
        raise MapError(
            "STYLE_INVALID",
            f"instance {instance}: a style code is {channels} numbers in -1..1, not {list(wish)}",
        )
    return code
