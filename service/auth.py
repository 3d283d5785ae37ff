"""Who asks: API keys, kept as hashes, for every face of the server."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from service.errors import ServiceError

log = logging.getLogger(__name__)

PREFIX = "hdsynth_"
_LINE = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})")
_HOW = "send Authorization: Bearer KEY or X-API-Key: KEY"


def new_key(name: str) -> tuple[str, str]:
    """Draw a key of 256 random bits; return it, and the line for the file of keys.

    Raises ValueError if ``name`` is no name for a key.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    line = f"{name}:{_digest(key)}"
    if _LINE.fullmatch(line) is None:
        raise ValueError(f"{name!r} is no name for a key; use up to 64 letters, digits or . _ -")
    return key, line


class Authenticator:
    """Knows callers by their keys. Without a file everybody may ask, and has no name.

    The file has a line ``name:sha256`` per key, ``#`` begins a comment. A name may have several
    keys, so that one can be replaced without a gap. A changed file is read again by itself.
    Raises ValueError if the file cannot be used.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._keys: list[tuple[str, str]] = []
        self._seen: object = None
        if file is not None:
            self._seen, self._keys = _stamp(file), _read_keys(file)

    @property
    def required(self) -> bool:
        """Whether callers need a key."""
        return self._file is not None

    def identify(self, authorization: str | None, api_key: str | None) -> str:
        """Return the name of the caller with these two headers; "" where no key is needed.

        Raises ServiceError UNAUTHENTICATED.
        """
        if self._file is None:
            return ""
        key = api_key or _bearer(authorization)
        if not key:
            raise ServiceError("UNAUTHENTICATED", f"this server needs an API key; {_HOW}")
        self._reload_if_changed(self._file)
        name = self._name_of(_digest(key))
        if name is None:
            raise ServiceError("UNAUTHENTICATED", f"the API key is not known here; {_HOW}")
        return name

    def reload(self) -> None:
        """Read the file again; a file that cannot be used is logged, and the old keys stay."""
        if self._file is None:
            return
        try:
            self._seen, self._keys = _stamp(self._file), _read_keys(self._file)
        except ValueError as error:
            log.error("the API keys stay as they were: %s", error)  # noqa: TRY400, told in a line
            return
        log.info("read %d API keys", len(self._keys))

    def _reload_if_changed(self, file: Path) -> None:
        stamp = _stamp(file)
        if stamp != self._seen:
            self._seen = stamp  # also if it is unusable: that is logged once, not per request
            self.reload()

    def _name_of(self, digest: str) -> str | None:
        # Every key is compared, each in constant time, so that the time tells nothing.
        found = None
        for name, known in self._keys:
            if hmac.compare_digest(digest, known):
                found = name
        return found


@dataclass(frozen=True)
class _Stamp:
    modified_ns: int
    size: int
    inode: int


def _stamp(file: Path) -> _Stamp | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return _Stamp(status.st_mtime_ns, status.st_size, status.st_ino)


def _read_keys(file: Path) -> list[tuple[str, str]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: cannot be read: {error}") from error
    keys = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if match is None:  # without the line itself, which may be a key by mistake
            raise ValueError(f"{file}:{number}: is not name:sha256, as `hdsynth key` prints it")
        keys.append((match[1], match[2]))
    return keys


def _bearer(authorization: str | None) -> str:
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _digest(key: str) -> str:
    # Keys are 256 random bits, so a fast hash without salt cannot be searched.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
