"""Choose the format of a photograph from an Accept header (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re

from model.image_io import PHOTO_FORMATS
from service.jobs import OutputFormat

RAW_MEDIA_TYPE = "application/octet-stream"
MEDIA_TYPES: dict[OutputFormat, str] = {
    **{name: entry.media_type for name, entry in PHOTO_FORMATS.items()},
    "raw": RAW_MEDIA_TYPE,
}

# q=0 .. q=1 with up to three decimals; other parameters of a media range are passed over.
_QUALITY = re.compile(r"\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*", re.IGNORECASE)


def choose_format(accept: str | None) -> OutputFormat | None:
    """Return the acceptable format of highest quality, None if there is none.

    Equal qualities go to the first of MEDIA_TYPES (PNG), which a missing header gets too.
    """
    if accept is None or not accept.strip():
        return "png"
    ranges = _media_ranges(accept)
    best: OutputFormat | None = None
    best_quality = 0.0
    for name, media_type in MEDIA_TYPES.items():
        # The most specific range that matches decides, wherever it stands.
        matches = (media_type, f"{media_type.split('/')[0]}/*", "*/*")
        quality = next((ranges[match] for match in matches if match in ranges), 0.0)
        if quality > best_quality:
            best, best_quality = name, quality
    return best


def _media_ranges(accept: str) -> dict[str, float]:
    ranges: dict[str, float] = {}
    for item in accept.split(","):
        media_type, *parameters = item.split(";")
        qualities = [match[1] for match in map(_QUALITY.fullmatch, parameters) if match]
        quality = float(qualities[0]) if qualities else 1.0
        key = media_type.strip().lower()
        ranges[key] = max(quality, ranges.get(key, 0.0))
    return ranges
