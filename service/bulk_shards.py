"""WebDataset shards: tar files whose members belong together if they share a key.

A member ``KEY.EXTENSION`` has as its key all up to the first dot after the last slash, and members
of one key stand together: https://github.com/webdataset/webdataset.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO


class ShardError(ValueError):
    """A shard cannot be read, or one of its samples not be used."""


@dataclass
class Sample:
    """Members of one key."""

    key: str
    files: dict[str, bytes] = field(default_factory=dict)
    """Extension in lower case, such as ``label.png`` -> content."""

    def pick(self, extensions: Iterable[str]) -> bytes | None:
        """Return the member with the first of these extensions that is there; None = none is."""
        return next((self.files[e] for e in extensions if e in self.files), None)


def read_samples(file: IO[bytes], name: str) -> Iterator[Sample]:
    """Read a shard from beginning to end, one sample after the other.

    ``name`` stands for the shard in messages. Raises ShardError for what is no whole tar file.
    """
    sample: Sample | None = None
    whole = _WholeTar(file)
    try:
        with tarfile.open(fileobj=whole, mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                key, extension = _parts(member.name)
                if not member.isfile() or not extension:
                    continue
                if sample is None or sample.key != key:
                    if sample is not None:
                        yield sample
                    sample = Sample(key)
                content = archive.extractfile(member)
                assert content is not None
                sample.files[extension] = content.read()
        whole.require_end()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ShardError(f"{name}: is no whole tar file: {error}") from error
    if sample is not None:
        yield sample


class ShardWriter:
    """Writes members one after the other. The same members make the same bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._archive = tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, name: str, data: bytes) -> None:
        """Append a member."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o644
        self._archive.addfile(member, io.BytesIO(data))

    def close(self) -> None:
        """Write the end of the archive; the file stays open."""
        self._archive.close()


class _WholeTar:
    """Remembers how a file ends, since tarfile takes one that was cut off for a shorter one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._end = file, b""

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        self._end = (self._end + data)[-tarfile.BLOCKSIZE :]
        return data

    def require_end(self) -> None:
        """Raise EOFError if the rest of the file does not end with the zeros that end a tar."""
        while self.read(tarfile.RECORDSIZE):
            pass
        if self._end != bytes(tarfile.BLOCKSIZE):
            raise EOFError("it was cut off")


def _parts(name: str) -> tuple[str, str]:
    """Split into key and extension; the extension is empty for what belongs to no sample."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    # Hidden files, and `__meta__` entries, which are notes about the shard.
    if not stem or stem.startswith("__"):
        return name, ""
    return f"{folder}{slash}{stem}", extension.lower()
