"""Read the published implementation's style clusters, ``features_clustered_010.npy``.

The file is a pickle in numpy's wrapping: a dict of class id -> cluster centres. A pickle calls
whatever it names, and numpy trusts what it is told about an array's memory. So no name is looked
up: those that plain arrays need stand for builders of our own, every other one is refused.
"""

from __future__ import annotations

import pickle
import tokenize
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from model.reference import ReferenceCheckpointError

# All that unpickling and numpy raise for damaged or foreign content.
_DAMAGED = (
    pickle.UnpicklingError, tokenize.TokenError, ArithmeticError, AttributeError, EOFError,
    LookupError, MemoryError, SyntaxError, TypeError, ValueError,
)  # fmt: skip


def read_reference_clusters(path: Path, label_count: int) -> dict[int, NDArray[np.float32]]:
    """Return class id -> (K, C) float32 cluster centres in [-1, 1], with one C for all classes.

    Files written by Python 2 and 3 and by numpy 1 and 2 are read; no code in them is ever run.
    Raises FileNotFoundError, and ReferenceCheckpointError when the file holds anything else or
    a class beyond the ``label_count`` that there are.
    """
    with path.open("rb") as file:
        try:
            found = _unpickle(file)
        except _DAMAGED as error:
            raise ReferenceCheckpointError(
                f"{path}: cannot be read as style clusters: {error}"
            ) from error
    try:
        return _checked(found, label_count)
    except ValueError as error:
        raise ReferenceCheckpointError(f"{path}: {error}") from error


def _unpickle(file: BinaryIO) -> object:
    """Return the one object that ``numpy.save`` wrote."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("the .npy header is not of version 1.0, which numpy writes for a dict")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if shape != () or not dtype.hasobject:
        raise ValueError(f"it holds an array of {dtype} with shape {shape}, not a pickled dict")
    # Python 2 kept bytes in text; latin1 is the encoding that gives them back unchanged.
    (found,) = _Unpickler(file, encoding="latin1").load().values
    return found


def _checked(found: object, label_count: int) -> dict[int, NDArray[np.float32]]:
    if not isinstance(found, dict) or not found:
        raise ValueError(f"holds a {type(found).__name__} without styles by class")
    clusters: dict[int, NDArray[np.float32]] = {}
    for label, centres in found.items():
        if type(label) is not int or not 0 <= label < label_count:
            raise ValueError(
                f"has styles of class {label!r}, but the classes are 0 to {label_count - 1}; "
                "check --labels"
            )
        values = centres.values if isinstance(centres, _Array) else centres
        if not isinstance(values, np.ndarray) or values.ndim != 2 or not values.size:
            raise ValueError(f"the styles of class {label} are no table of codes")
        # The margin is for rounding in the means; NaN fails the comparison too.
        if not (np.abs(values) <= 1 + 1e-6).all():
            raise ValueError(f"the styles of class {label} do not lie in -1..1")
        clusters[label] = values.astype(np.float32).clip(-1, 1)
    widths = sorted({centres.shape[1] for centres in clusters.values()})
    if len(widths) > 1:
        raise ValueError(f"the style codes differ in length: {', '.join(map(str, widths))}")
    return clusters


class _Array:
    """Stands for a pickled ``numpy.ndarray`` of floating-point numbers or of objects."""

    values: Any = None

    def __init__(self, *_: object) -> None:
        """Take what the pickle gives to make an empty array."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if dtype.name == "|O8" and isinstance(data, list):
            self.values = data
        elif dtype.name in {"<f4", ">f4", "<f8", ">f8"}:
            content = data.encode("latin1") if isinstance(data, str) else data
            values = np.frombuffer(content, dtype.name)
            self.values = values.reshape(shape, order="F" if fortran else "C")
        else:
            raise pickle.UnpicklingError(f"an array has the type {dtype.name!r}, not f4 or f8")


class _Dtype:
    """Stands for a pickled ``numpy.dtype``."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.name = state[1] + self.code


_STAND_INS = {
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy._core.multiarray._reconstruct": _Array,
    "numpy.ndarray": "ndarray",  # only ever handed to _reconstruct
    "numpy.dtype": _Dtype,
    "_codecs.encode": str.encode,  # how Python 3 spells bytes in a pickle for Python 2
}


class _Unpickler(pickle.Unpickler):
    """Knows plain containers, numbers, text and arrays; looks up no name."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = f"{module_name}.{global_name}"
        if name not in _STAND_INS:
            raise pickle.UnpicklingError(
                f"it names {name}, which style clusters have no use for; nothing of it was run"
            )
        return _STAND_INS[name]
