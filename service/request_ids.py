"""The id that a request carries through headers, logs and traces."""

from __future__ import annotations

import os
import re

# Ids of the caller's own go into our headers and log, so only harmless ones are taken over.
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def request_id(given: str) -> str:
    """Return the caller's own id if it is harmless, else a new one."""
    return given if _SANE_ID.fullmatch(given) else os.urandom(16).hex()
