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

    def __reduce__(self) -> tuple[type[MapError], tuple[str, str]]:
        """Keep both parts on the way back from a process that loads images."""
        return type(self), (self.reason, str(self))
