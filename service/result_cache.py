"""Photographs that were made before, for callers that send the same bytes again.

A job's photograph depends on nothing but the job and the model: styles are drawn from the seed.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from service.jobs import Job, MapData, Photo
from service.metrics import RESULT_CACHE

_ENTRY_BYTES = 512
"""What an entry takes besides its photograph, roughly."""


class ResultCache:
    """Keeps the photographs used last, up to a number of bytes. Belongs to one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._photos: OrderedDict[bytes, Photo] = OrderedDict()

    @property
    def enabled(self) -> bool:
        """Whether it is worth asking."""
        return self._max_bytes > 0

    def get(self, key: bytes) -> Photo | None:
        """Return the photograph of a key, None if it is not here."""
        photo = self._photos.get(key)
        if photo is not None:
            self._photos.move_to_end(key)
        RESULT_CACHE.labels("miss" if photo is None else "hit").inc()
        return photo

    def put(self, key: bytes, photo: Photo) -> None:
        """Keep a photograph, and forget those that have not been used for longest."""
        size = _size(photo)
        if size > self._max_bytes or key in self._photos:
            return
        self._photos[key] = photo
        self._bytes += size
        while self._bytes > self._max_bytes:
            _, oldest = self._photos.popitem(last=False)
            self._bytes -= _size(oldest)


def job_key(job: Job, model_version: str) -> bytes:
    """Digest whatever decides over the photograph: equal keys, equal photographs."""
    choice = job.choice
    digest = hashlib.blake2b(digest_size=32)
    facts = (
        model_version,
        _about(job.label),
        job.instance and _about(job.instance),
        (choice.seed, sorted(choice.instances.items()), sorted(choice.classes.items())),
        (job.format, job.quality),
        job.style_photo and len(job.style_photo),
        job.min_faithfulness is not None,
    )
    digest.update(repr(facts).encode())
    for data in (job.label.data, job.instance and job.instance.data, job.style_photo):
        digest.update(data or b"")
    return digest.digest()


def _about(given: MapData) -> tuple[object, ...]:
    # The length keeps the label's bytes apart from the instance map's.
    return given.encoding, given.element_type, given.width, given.height, len(given.data)


def _size(photo: Photo) -> int:
    return len(photo.data) + _ENTRY_BYTES
