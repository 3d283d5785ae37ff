"""Where models come from: folders, archives and addresses, brought to a folder on this machine.

    facades=/models/night                             a folder, under another name
    /models/night.tar                                 an archive, as `hdsynth bundle pack` makes it
    https://host/night.tar#sha256=0123...             the same from a web server, checked
    s3://bucket/night.tar, gs://..., hf://...         likewise; each needs a package of its own

Archives are unpacked in a cache, in a folder named by their SHA-256: an address that tells its
hash is fetched once, one that does not is fetched whenever the model is loaded.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from model.bundle import DESCRIPTION, Bundle, BundleError, file_hash, load_bundle
from model.bundle_archive import MAX_BYTES, unpack

log = logging.getLogger(__name__)

_TEXT = re.compile(
    r"(?:(?P<name>[\w.-]{1,64})=)?(?P<address>[^#]+)(?:#(?P<fragment>.*))?", re.ASCII
)
_CHUNK = 1 << 20


class SourceError(ValueError):
    """A model cannot be fetched; the message names the address and the reason."""


@dataclass(frozen=True)
class ModelSource:
    """Where one model comes from."""

    address: str
    """Folder, archive, or URL of an archive."""
    name: str = ""
    """What to call the model; empty = as its bundle says."""
    sha256: str = ""
    """Of the archive, in hex; empty = not checked."""

    @classmethod
    def parse(cls, text: str) -> ModelSource:
        """Read ``[NAME=]SOURCE[#sha256=HEX]``. Raises SourceError."""
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise SourceError(f"{text!r} is no model; write [NAME=]FOLDER or [NAME=]ADDRESS")
        sha256 = ""
        if match["fragment"] is not None:
            key, _, sha256 = match["fragment"].partition("=")
            if key != "sha256":
                raise SourceError(f"{text}: ends with #{match['fragment']}; write #sha256=HEX")
            sha256 = checked_sha256(sha256)
        return cls(match["address"], match["name"] or "", sha256)

    @property
    def is_remote(self) -> bool:
        """Whether it has to be fetched from somewhere else."""
        return "://" in self.address

    def __str__(self) -> str:
        """Show the address without the password that it may hold."""
        return re.sub(r"(?<=://)[^/@]*@|\?.*", "", self.address)


def checked_sha256(text: str) -> str:
    """Return a SHA-256 in lower case. Raises SourceError if it is none."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text) is None:
        raise SourceError(f"{text!r} is no SHA-256, which is 64 hex digits")
    return text.lower()


def default_cache() -> Path:
    """Return the folder for unpacked bundles that holds where no other is set."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hdsynth" / "bundles"


def bundle_folder(source: ModelSource, cache: Path) -> Path:
    """Return the folder of a source's bundle, fetched and unpacked if need be.

    Links are followed, so that a folder stays the same while a link is turned to another one.
    Raises SourceError, BundleError for an archive that cannot be used, and ImportError naming the
    package to install.
    """
    path = Path(source.address)
    if not source.is_remote and not path.is_file():
        if source.sha256:
            raise SourceError(f"{source}: is no archive, so there is no SHA-256 to check")
        return path.resolve()
    if source.sha256 and (known := cache / source.sha256).is_dir():
        return known
    if not source.is_remote:
        return _cached(path, _require_hash(source, file_hash(path)), cache)
    with fetched(source, cache) as (archive, digest):
        return _cached(archive, digest, cache)


@contextmanager
def fetched(source: ModelSource, folder: Path) -> Iterator[tuple[Path, str]]:
    """Copy a source's archive into ``folder`` for as long as the block lasts.

    Gives the file and its SHA-256, which has been checked. Raises SourceError, ImportError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as temporary:
        archive = Path(temporary) / "archive"
        log.info("fetching %s", source)
        digest = _download(source, archive)
        yield archive, _require_hash(source, digest)


def fetch_bundle(source: ModelSource, folder: Path) -> Bundle:
    """Fetch an archive and unpack its bundle into ``folder``, whole or not at all.

    A bundle that is there is replaced. Returns the verified bundle. Raises SourceError also if
    the folder holds something else, and else as ``bundle_folder``.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / DESCRIPTION).is_file():
        raise SourceError(f"{folder}: holds something else than a bundle; choose another folder")
    with fetched(source, folder.parent) as (archive, _):
        unpacked = archive.with_name("bundle")
        unpack(archive, unpacked)
        try:
            load_bundle(unpacked)
        except BundleError as error:
            raise BundleError(f"{source}: {error}") from error
        if folder.is_dir():
            folder.rename(archive.with_name("replaced"))
        unpacked.rename(folder)
    return load_bundle(folder)


def _cached(archive: Path, digest: str, cache: Path) -> Path:
    folder = cache / digest
    if not folder.is_dir():
        try:
            unpack(archive, folder)
        except OSError:
            # Another server with the same cache may have been quicker.
            if not folder.is_dir():
                raise
    return folder


def _require_hash(source: ModelSource, digest: str) -> str:
    if source.sha256 not in ("", digest):
        raise SourceError(f"{source}: its SHA-256 is {digest}, not {source.sha256}")
    return digest


def _download(source: ModelSource, path: Path) -> str:
    digest, size = hashlib.sha256(), 0
    with _opened(source) as remote, path.open("wb") as file:
        while chunk := _read(source, remote):
            size += len(chunk)
            if size > MAX_BYTES:
                raise SourceError(f"{source}: has more than {MAX_BYTES} bytes")
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


@contextmanager
def _opened(source: ModelSource) -> Iterator[IO[bytes]]:
    if not source.is_remote:
        with Path(source.address).open("rb") as file:
            yield file
        return
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(
            f"{source}: models from addresses need fsspec: pip install 'hdsynth[remote]'"
        ) from error
    options: dict[str, Any] = {}
    if source.address.startswith(("http://", "https://")):
        # In one go, since not every web server has ranges; through the environment's proxy.
        options = {"block_size": 0, "client_kwargs": {"trust_env": True}}
    try:
        remote = fsspec.open(source.address, "rb", **options).open()
    except ImportError as error:
        raise ImportError(f"{source}: {error}") from error
    except Exception as error:
        raise _unfetched(source, error) from error
    with remote:
        yield remote


def _read(source: ModelSource, remote: IO[bytes]) -> bytes:
    try:
        return remote.read(_CHUNK)
    except Exception as error:
        raise _unfetched(source, error) from error


def _unfetched(source: ModelSource, error: Exception) -> SourceError:
    # Every protocol has exceptions of its own, some of them without words.
    words = str(error).replace(source.address, str(source)) or "no answer"
    return SourceError(f"{source}: cannot be fetched: {type(error).__name__}: {words}")
