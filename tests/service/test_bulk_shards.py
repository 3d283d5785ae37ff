"""Shards: what goes in comes out, and what was cut off is not taken for a shorter one."""

from __future__ import annotations

import io
import tarfile

import pytest

from service.bulk_shards import ShardError, ShardWriter, read_samples


def shard(*members: tuple[str, bytes]) -> bytes:
    """A tar file with these members."""
    file = io.BytesIO()
    writer = ShardWriter(file)
    for name, data in members:
        writer.add(name, data)
    writer.close()
    return file.getvalue()


def test_members_of_one_key_belong_together() -> None:
    """Keys end at the first dot of the file's own name; notes and hidden files are no samples."""
    data = shard(
        ("__note__.json", b"{}"),
        ("v1.2/a.label.png", b"1"),
        ("v1.2/a.Instance.PNG", b"2"),
        ("v1.2/.hidden", b"3"),
        ("b.png", b"4"),
    )
    found = [(s.key, s.files) for s in read_samples(io.BytesIO(data), "x.tar")]
    assert found == [("v1.2/a", {"label.png": b"1", "instance.png": b"2"}), ("b", {"png": b"4"})]


def test_other_tools_can_read_what_we_write() -> None:
    """Python's own tarfile sees the same members, without owners or times."""
    data = shard(("a.png", b"photo"))
    assert data == shard(("a.png", b"photo"))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        (member,) = archive
        assert (member.name, member.mtime, member.uid) == ("a.png", 0, 0)


@pytest.mark.parametrize("length", [0, 100, 512, 515, 1024, 1500, 2048, 2100])
def test_a_shard_that_was_cut_off_is_refused(length: int) -> None:
    """Wherever it ends, between two members too."""
    data = shard(("a.png", b"a" * 400), ("b.png", b"b" * 400))
    with pytest.raises(ShardError, match=r"x\.tar"):
        list(read_samples(io.BytesIO(data[:length]), "x.tar"))
