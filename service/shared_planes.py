"""Arrays that two processes share without copying them through a pipe.

The memory has no name, so nothing has to be removed after it, however a process ends: it is gone
with the last process that has it open (memfd_create(2)). Nor does it depend on the size of
/dev/shm, which containers keep at 64 MB.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Form = tuple[str, tuple[int, ...]]
"""Element type and shape of an array."""
Place = tuple[str, tuple[int, ...], int]
"""Element type, shape, and offset in bytes."""

_ALIGNMENT = 64


def lay_out(forms: Mapping[str, Form]) -> tuple[dict[str, Place], int]:
    """Place arrays one behind the other; returns their places and the bytes that all take."""
    places: dict[str, Place] = {}
    end = 0
    for name, (dtype, shape) in forms.items():
        places[name] = (dtype, shape, end)
        size = np.dtype(dtype).itemsize * prod(shape)
        end += -(-size // _ALIGNMENT) * _ALIGNMENT
    return places, end


class SharedPlanes:
    """A piece of memory that grows with what is laid out in it, but never shrinks."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._mapped: mmap.mmap | None = None

    @classmethod
    def create(cls) -> SharedPlanes:
        """Make new memory; a child process gets it as a file descriptor."""
        return cls(os.memfd_create("hdsynth-planes"))

    def reserve(self, size: int) -> None:
        """Make room for ``size`` bytes. Called by one of the processes only."""
        if size > os.fstat(self.descriptor).st_size:
            os.ftruncate(self.descriptor, size)

    def arrays(self, places: Mapping[str, Place]) -> dict[str, Array]:
        """Return the arrays at their places; they stay valid when the memory grows."""
        size = os.fstat(self.descriptor).st_size
        if self._mapped is None or len(self._mapped) < size:
            # Arrays keep the mapping that they were made from.
            self._mapped = mmap.mmap(self.descriptor, size)
        return {
            name: np.ndarray(shape, dtype, self._mapped, offset)
            for name, (dtype, shape, offset) in places.items()
        }

    def close(self) -> None:
        """Let go of the memory; arrays made before stay valid."""
        os.close(self.descriptor)
        self._mapped = None
