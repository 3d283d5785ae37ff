"""Bundles as single files: packed for a web server or a bucket, unpacked with distrust."""

from __future__ import annotations

import gzip
import json
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from model.bundle import DESCRIPTION, Bundle, BundleError, file_hash

MAX_BYTES = 8 << 30
"""Most that an archive may hold, unpacked."""
MAX_FILES = 1000
Entry = tuple[str, IO[bytes]]
# What the libraries raise for archives that are broken, encrypted or of an unknown kind.
_DAMAGE = (
    ValueError, RuntimeError, EOFError, gzip.BadGzipFile, lzma.LZMAError, tarfile.TarError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def pack(bundle: Bundle, path: Path) -> str:
    """Write a loaded bundle as a tar file; returns the file's SHA-256 in hex.

    It holds the description and the files that this lists, with the same bytes every time that
    the same bundle is packed. The file appears in one step. Raises OSError.
    """
    description = bundle.path(DESCRIPTION)
    files = [DESCRIPTION, *sorted(json.loads(description.read_bytes())["files"])]
    part = path.with_name(f".{path.name}.part")
    try:
        with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name in files:
                _add(archive, bundle.path(name))
        digest = file_hash(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return digest


def unpack(archive: Path, folder: Path, max_bytes: int = MAX_BYTES) -> None:
    """Unpack the bundle in a .tar, .tar.gz or .zip file into a new folder, whole or not at all.

    It may lie in a folder of its own in the archive. Only plain files and folders are accepted,
    in places inside the archive; what they hold is not looked at: see ``load_bundle``. Raises
    BundleError naming the archive and the entry, and OSError if ``folder`` cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as temporary:
        place = Path(temporary)
        try:
            with _entries(archive) as entries:
                _copy_out(entries, place, max_bytes)
        except _DAMAGE as error:
            raise BundleError(f"{archive}: {error}") from error
        _bundle_in(place, archive).rename(folder)


def _add(archive: tarfile.TarFile, path: Path) -> None:
    # Neither owner nor time, so that equal bundles make equal archives.
    entry = tarfile.TarInfo(path.name)
    entry.size, entry.mode = path.stat().st_size, 0o644
    with path.open("rb") as file:
        archive.addfile(entry, file)


@contextmanager
def _entries(archive: Path) -> Iterator[Iterator[Entry]]:
    """Open an archive of either kind; its folders are left out."""
    if tarfile.is_tarfile(archive):  # first: a tar file that ends with a zip file looks like one
        with tarfile.open(archive) as tar:
            yield _tar_entries(tar)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_entries(opened)
    else:
        raise BundleError("is neither a tar nor a zip file")


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for entry in archive.infolist():
        kind = entry.external_attr >> 28  # of Unix; 0 where another system made it
        if kind not in {0, 4, 8}:
            raise BundleError(f"{entry.filename!r} is neither a file nor a folder")
        if not entry.is_dir():
            with archive.open(entry) as file:
                yield entry.filename, file


def _tar_entries(archive: tarfile.TarFile) -> Iterator[Entry]:
    for entry in archive:
        if entry.isdir():
            continue
        file = archive.extractfile(entry) if entry.isreg() else None
        if file is None:
            raise BundleError(f"{entry.name!r} is neither a file nor a folder")
        yield entry.name, file


def _copy_out(entries: Iterator[Entry], folder: Path, max_bytes: int) -> None:
    left = max_bytes
    for count, (name, file) in enumerate(entries, 1):
        path = folder / _safe(name)
        if path.exists():
            raise BundleError(f"{name[:200]!r} is there twice")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out:
            while chunk := file.read(min(1 << 20, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise BundleError(f"holds more than {max_bytes} bytes")
                out.write(chunk)
        if count == MAX_FILES:
            raise BundleError(f"holds {MAX_FILES} files or more")


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise BundleError(f"{name[:200]!r} lies outside of the archive")
    return path


def _bundle_in(place: Path, archive: Path) -> Path:
    folders = [place, *(path for path in place.iterdir() if path.is_dir())]
    found = [folder for folder in folders if (folder / DESCRIPTION).is_file()]
    if not found:
        raise BundleError(f"{archive}: holds no bundle ({DESCRIPTION} is missing)")
    # The temporary folder itself cannot be the result: it is removed at the end.
    if found[0] != place:
        return found[0]
    inner = place / ".bundle"
    inner.mkdir()
    for path in place.iterdir():
        if path != inner:
            shutil.move(path, inner / path.name)
    return inner
