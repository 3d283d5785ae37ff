"""Published style clusters are read whoever wrote them, and never run."""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.reference_clusters import read_reference_clusters
from model.reference import ReferenceCheckpointError

DRAWS = np.random.default_rng(0)
CLUSTERS: dict[int, np.ndarray] = {
    7: DRAWS.uniform(-1, 1, (10, 3)),
    26: np.asfortranarray(DRAWS.uniform(-1, 1, (4, 3)).astype(np.float32)),
    33: DRAWS.uniform(-1, 1, (1, 3)).astype(">f8"),
}


def npy(content: bytes) -> bytes:
    """Put a pickle behind the header that numpy.save writes for an object."""
    file = io.BytesIO()
    header: dict[str, Any] = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


def wrapped(value: object) -> np.ndarray:
    """The array of one object that numpy.save makes of anything that is no array."""
    array = np.empty((), object)
    array[()] = value
    return array


def by_numpy(value: object) -> bytes:
    """What this numpy writes."""
    file = io.BytesIO()
    np.save(file, wrapped(value))
    return file.getvalue()


def text(data: bytes) -> bytes:
    """Python 2's opcode for a string, which is text and bytes at once."""
    return b"T" + struct.pack("<i", len(data)) + data


def numbers(*values: int) -> bytes:
    """Opcodes for whole numbers."""
    return b"".join(b"J" + struct.pack("<i", value) for value in values)


def python2_array(shape: tuple[int, ...], dtype: str, fortran: bool, content: bytes) -> bytes:
    """Opcodes for an array as Python 2 with numpy 1 wrote it; ``dtype`` is such as ``<f8``."""
    order, code = dtype[:1].encode(), dtype[1:].encode()
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n("
        + numbers(0) + b"t" + text(b"b") + b"tR"
        + b"(" + numbers(1) + b"(" + numbers(*shape) + b"t"
        + b"cnumpy\ndtype\n(" + text(code) + numbers(0, 1) + b"tR"
        + b"(" + numbers(3) + text(order) + b"NNN" + numbers(-1, -1, 63 if code == b"O8" else 0)
        + b"tb" + (b"\x88" if fortran else b"\x89") + content + b"tb"
    )  # fmt: skip


def by_python2(clusters: dict[int, np.ndarray]) -> bytes:
    """What Python 2 with numpy 1 wrote."""
    entries = b""
    for label, centres in clusters.items():
        content = text(centres.tobytes("A"))
        entries += numbers(label)
        entries += (
            python2_array(centres.shape, centres.dtype.str, centres.flags.fnc, content) + b"s"
        )
    return npy(b"\x80\x02" + python2_array((), "|O8", False, b"]}" + entries + b"a") + b".")


def by_numpy1(value: object) -> bytes:
    """What Python 3 with numpy 1 wrote for Python 2."""
    return npy(pickle.dumps(wrapped(value), 2).replace(b"numpy._core", b"numpy.core"))


@pytest.mark.parametrize("write", [by_numpy, by_python2, by_numpy1])
def test_files_of_every_age_give_the_same_styles(
    write: Callable[[dict[int, np.ndarray]], bytes], tmp_path: Path
) -> None:
    """Bytes, text, byte order and memory order make no difference."""
    path = tmp_path / "clusters.npy"
    path.write_bytes(write(CLUSTERS))
    # numpy's own loader is the witness that the file is one of its kind.
    witness = np.load(path, allow_pickle=True, encoding="latin1").item()
    found = read_reference_clusters(path, 35)
    assert list(found) == list(witness) == [7, 26, 33]
    for label, centres in found.items():
        assert centres.dtype == np.float32
        assert np.array_equal(centres, CLUSTERS[label].astype(np.float32))
        assert np.array_equal(witness[label], CLUSTERS[label])


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        """Say how the copy is made: by calling what we like."""
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [by_numpy, by_numpy1])
def test_code_in_the_file_is_not_run(write: Callable[[object], bytes], tmp_path: Path) -> None:
    """The function that numpy's loader would call is named and refused."""
    path, made = tmp_path / "clusters.npy", tmp_path / "made"
    path.write_bytes(write({7: Attack(made)}))
    np.load(path, allow_pickle=True)
    assert made.exists()
    made.rmdir()
    with pytest.raises(ReferenceCheckpointError, match=r"clusters\.npy.*names \w+\.mkdir"):
        read_reference_clusters(path, 35)
    assert not made.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"cbuiltins\neval\n(V1+1\ntR.", "names builtins.eval"),
        (b"cnumpy\nload\n(V/etc/passwd\ntR.", "names numpy.load"),
        (b"cnumpy.core.multiarray\nfromfile\n.", "names numpy.core.multiarray.fromfile"),
        # Instead of calling an allowed name, the file tries to change it.
        (b"c_codecs\nencode\n(N}V__doc__\nVx\nstb.", "cannot be read"),
        (b"cnumpy\ndtype\n(N}Vname\nVx\nstb.", "cannot be read"),
        (b"}.", "cannot be read"),
        (b"Ktrash", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_hostile_and_damaged_pickles_are_refused(
    content: bytes, words: str, tmp_path: Path
) -> None:
    """Whatever is in the pickle, the answer is one error that names the file."""
    path = tmp_path / "clusters.npy"
    path.write_bytes(npy(content))
    with pytest.raises(ReferenceCheckpointError, match=words) as info:
        read_reference_clusters(path, 35)
    assert str(path) in str(info.value)


def test_objects_made_of_raw_memory_are_refused(tmp_path: Path) -> None:
    """Bytes that pose as an array of objects would be taken as addresses."""
    path = tmp_path / "clusters.npy"
    path.write_bytes(npy(python2_array((), "|O8", False, text(b"A" * 8)) + b"."))
    with pytest.raises(ReferenceCheckpointError, match=r"'\|O8', not f4"):
        read_reference_clusters(path, 35)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({35: np.zeros((2, 3))}, "class 35, but the classes are 0 to 34; check --labels"),
        ({-1: np.zeros((2, 3))}, "class -1"),
        ({"car": np.zeros((2, 3))}, "class 'car'"),
        ({True: np.zeros((2, 3))}, "class True"),
        ({7: np.zeros(3)}, "class 7 are no table"),
        ({7: np.zeros((0, 3))}, "class 7 are no table"),
        ({7: [[0.0, 0.0, 0.0]]}, "class 7 are no table"),
        ({7: wrapped("x")}, "class 7 are no table"),
        ({7: np.zeros((2, 3), np.int64)}, "'<i8', not f4 or f8"),
        ({7: np.full((2, 3), np.nan)}, "class 7 do not lie in -1..1"),
        ({7: np.full((2, 3), 1.01)}, "class 7 do not lie in -1..1"),
        ({7: np.zeros((2, 3)), 8: np.zeros((2, 4))}, "differ in length: 3, 4"),
        ({}, "dict without styles"),
        ([np.zeros((2, 3))], "holds a list"),
    ],
)
def test_other_content_is_named(value: object, words: str, tmp_path: Path) -> None:
    """Wrong classes, shapes, types and numbers are told apart."""
    path = tmp_path / "clusters.npy"
    path.write_bytes(by_numpy(value))
    with pytest.raises(ReferenceCheckpointError, match=words):
        read_reference_clusters(path, 35)


def test_other_npy_files_are_refused(tmp_path: Path) -> None:
    """A plain array, a torn file and a file of another kind are no style clusters."""
    path = tmp_path / "clusters.npy"
    np.save(path, np.zeros((10, 3)))
    with pytest.raises(ReferenceCheckpointError, match="float64 with shape"):
        read_reference_clusters(path, 35)
    path.write_bytes(by_numpy(CLUSTERS)[:-40])
    with pytest.raises(ReferenceCheckpointError, match="cannot be read"):
        read_reference_clusters(path, 35)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ReferenceCheckpointError, match="cannot be read"):
        read_reference_clusters(path, 35)
