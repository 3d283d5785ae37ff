"""Memory on the CPU that a step gives back and the next one takes again."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_ALWAYS = 2**31 - 1


def keep_freed_memory() -> None:
    """Let this process keep what it frees, where the C library is glibc.

    By default large tensors go back to the system at once, and every step pays again for having
    all its pages mapped and zeroed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, _ALWAYS)
