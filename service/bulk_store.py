"""A folder of files, here or in an object store, in which every file is whole or not there.

Addresses are those of fsspec: ``/data/maps``, ``s3://bucket/maps``, ``gs://bucket/maps``. The
photographs of a run lie in the folder itself; what the run says about them lies in ``_bulk``.
"""

from __future__ import annotations

import os
import posixpath
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

NOTES = "_bulk"
"""Folder for what is no photograph: settings, errors, report, and files that are being written."""
_PARTS = f"{NOTES}/parts"
_WHOLE_AT_ONCE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "memory"})
"""Stores in which an object can be seen only after the last byte of it has come."""


class Store:
    """Files of one folder by their names; names may have folders in them. Can be pickled."""

    def __init__(self, address: str) -> None:
        """Open a folder, which need not exist. Raises ImportError, ValueError naming the address.

        Nothing is read or written yet.
        """
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise ImportError(
                f"{address}: bulk runs need fsspec: pip install 'hdsynth[ray]'"
            ) from error
        self.address = address
        try:
            fs, root = url_to_fs(address)
        except ImportError as error:  # fsspec names the package that the protocol needs
            raise ImportError(f"{address}: {error}") from error
        self._fs: Any = fs
        self._root: str = root.rstrip("/")
        protocols = {fs.protocol} if isinstance(fs.protocol, str) else {*fs.protocol}
        self._is_local = "file" in protocols
        self._is_whole_at_once = not protocols.isdisjoint(_WHOLE_AT_ONCE)

    def __str__(self) -> str:
        """The address, as the user wrote it."""
        return self.address

    def names(self, folder: str = "") -> list[str]:
        """Return the names of the files in a folder, sorted; empty if there is no such folder."""
        self._fs.invalidate_cache()
        path = self._path(folder)
        try:
            entries = self._fs.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        files = (posixpath.basename(e["name"]) for e in entries if e["type"] == "file")
        # Some stores list the folder itself, and hidden files are those of other programs.
        return sorted(name for name in files if name and not name.startswith("."))

    def read(self, name: str) -> bytes:
        """Return a file's content. Raises OSError."""
        data: bytes = self._fs.cat_file(self._path(name))
        return data

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading from beginning to end. Raises OSError."""
        file: IO[bytes] = self._fs.open(self._path(name), "rb")
        return file

    def write(self, name: str, data: bytes) -> None:
        """Write a file, or replace it, whole or not at all. Raises OSError."""
        if self._is_whole_at_once:
            self._fs.pipe_file(self._path(name), data)
            return
        with self.create(name) as file:
            file.write(data)

    @contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Give a file to write to, which becomes ``name`` at the end of the block.

        If the block is left by an exception, nothing remains. Raises OSError.
        """
        if self._is_local:
            with self._local_part() as (file, part):
                yield file
                file.flush()
                # Else a machine that loses power could be left with a name and no content.
                os.fsync(file.fileno())
                target = Path(self._path(name))
                target.parent.mkdir(parents=True, exist_ok=True)
                part.replace(target)
            return
        with tempfile.NamedTemporaryFile() as local:
            yield local
            local.flush()
            self._upload(local.name, name)

    def clean(self) -> None:
        """Remove what a run left that was killed while it wrote."""
        if self._fs.exists(self._path(_PARTS)):
            self._fs.rm(self._path(_PARTS), recursive=True)

    @contextmanager
    def _local_part(self) -> Iterator[tuple[IO[bytes], Path]]:
        # In the same folder as the target, hence on the same disk, so that the rename is atomic.
        part = Path(self._path(_PARTS), secrets.token_hex(8))
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                yield file, part
        finally:
            part.unlink(missing_ok=True)

    def _upload(self, local: str, name: str) -> None:
        target = self._path(name)
        if self._is_whole_at_once:
            self._fs.put_file(local, target)
            return
        part = self._path(f"{_PARTS}/{secrets.token_hex(8)}")
        self._fs.makedirs(posixpath.dirname(part), exist_ok=True)
        self._fs.makedirs(posixpath.dirname(target), exist_ok=True)
        self._fs.put_file(local, part)
        self._fs.mv(part, target)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root
