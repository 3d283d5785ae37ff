"""Folders of a bulk run: files are whole or not there."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from service.bulk_store import NOTES, Store


@pytest.mark.parametrize("address", ["{tmp}/out", "memory://{tmp}/out"])
def test_files_come_back(address: str, tmp_path: Path) -> None:
    """What is written can be listed and read, in a folder that nobody made, and replaced."""
    store = Store(address.format(tmp=tmp_path))
    assert store.names() == []
    for content in (b"old", b"new"):
        store.write("b.png", content)
    store.write("x/a.png", b"1")
    assert (store.names(), store.names("x")) == (["b.png"], ["a.png"])
    again = pickle.loads(pickle.dumps(store))  # noqa: S301 - as Ray sends it to workers
    assert again.read("b.png") == b"new"
    with again.open("b.png") as file:
        assert file.read() == b"new"


@pytest.mark.parametrize("address", ["{tmp}/out", "memory://{tmp}/out"])
def test_nothing_is_seen_of_what_is_not_whole(address: str, tmp_path: Path) -> None:
    """A file has its name after the block and not before, and never if the block fails."""
    store = Store(address.format(tmp=tmp_path))
    with store.create("a.tar") as file:
        file.write(b"half")
        assert store.names() == []
    assert store.read("a.tar") == b"half"
    with pytest.raises(RuntimeError, match="torn"), store.create("b.tar"):
        raise RuntimeError("torn")
    assert store.names() == ["a.tar"]


def test_remains_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    """What was being written lies apart from the photographs, and goes."""
    part = tmp_path / NOTES / "parts" / "0123"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    store = Store(str(tmp_path))
    assert store.names() == []
    store.clean()
    assert not part.exists()


def test_unknown_addresses_are_refused() -> None:
    """The message names the address or its protocol."""
    with pytest.raises(ValueError, match="nosuch"):
        Store("nosuch://bucket/x")
