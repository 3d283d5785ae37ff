"""The error for maps and photographs that cannot be used, shared by every way in."""

from __future__ import annotations


class MapError(ValueError):
    """A label map, instance map or photograph cannot be used.

    ``reason`` is a stable upper-case code for programs; the message is for people and names the
    file or field, the offending value and the fix.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
