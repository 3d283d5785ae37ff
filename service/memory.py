"""Lets the process keep the memory that one scene leaves for the next one."""

from __future__ import annotations

import ctypes

# Of mallopt(3), from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGEST_PLANE = 32 << 20
"""The most that the library allows; maps and photographs of 2048x1024 pixels have 8 MB."""
_KEPT = 128 << 20


def keep_freed_memory() -> None:
    """Tell the C library not to give large blocks back to the kernel as soon as they are free.

    Otherwise every plane of a scene of 2048x1024 is mapped anew, a page at a time: thousands of
    page faults, a third of all that the server does for it. What is kept is bounded. Does nothing
    with other C libraries than glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST_PLANE)
    mallopt(_TRIM_THRESHOLD, _KEPT)
    # One pool for all threads, so that what one of them leaves serves the others too.
    mallopt(_ARENA_MAX, 1)
