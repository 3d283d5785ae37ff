import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from model.bundle import DESCRIPTION, BundleError, load_bundle
from model.bundle_archive import pack, unpack

Entries = list[tuple[tarfile.TarInfo, bytes]]


def entry(name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE) -> Entries:
    """Describe one entry of a tar file."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, "/etc/passwd"
    return [(info, data)]


def write_tar(path: Path, entries: Entries) -> Path:
    """Write a tar file that no honest program would write."""
    with tarfile.open(path, "w") as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return path


def test_packed_bundle_comes_back(tiny_bundle: Path, tmp_path: Path) -> None:
    """Equal bundles make equal archives, and what is unpacked has the same version."""
    bundle = load_bundle(tiny_bundle)
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    assert pack(bundle, first) == pack(bundle, second)
    unpack(first, tmp_path / "new" / "bundle")
    assert load_bundle(tmp_path / "new" / "bundle").version == bundle.version
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["bundle"]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_other_archives(tiny_bundle: Path, tmp_path: Path, kind: str) -> None:
    """Archives that other programs made of the bundle's folder can be unpacked as well."""
    path = tmp_path / f"bundle.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in tiny_bundle.iterdir():
                archive.write(file, f"inside/{file.name}")
    else:
        with tarfile.open(path, "w:gz") as tar:
            tar.add(tiny_bundle, "inside")
    unpack(path, tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle").version == load_bundle(tiny_bundle).version


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (entry("/etc/hdsynth"), "outside of the archive"),
        (entry("../outside"), "outside of the archive"),
        (entry("a/../../outside"), "outside of the archive"),
        (entry("link", b"", tarfile.SYMTYPE), "neither a file nor a folder"),
        (entry("link", b"", tarfile.LNKTYPE), "neither a file nor a folder"),
        (entry("pipe", b"", tarfile.FIFOTYPE), "neither a file nor a folder"),
        (entry(DESCRIPTION) + entry(DESCRIPTION), "is there twice"),
        (entry("readme"), "holds no bundle"),
        (entry(DESCRIPTION, bytes(2001)), "holds more than 2000 bytes"),
        (entry(DESCRIPTION) + [e for n in range(1000) for e in entry(str(n), b"")], "1000 files"),
    ],
)
def test_dishonest_archives_leave_nothing(tmp_path: Path, entries: Entries, words: str) -> None:
    """What would be written elsewhere, or be too much, is refused with the archive's name."""
    path = write_tar(tmp_path / "bad.tar", entries)
    with pytest.raises(BundleError, match=rf"bad\.tar: .*{words}"):
        unpack(path, tmp_path / "bundle", max_bytes=2000)
    assert [left.name for left in tmp_path.iterdir()] == ["bad.tar"]


def truncated(path: Path) -> None:
    """Cut off the end of a gzipped tar file."""
    with tarfile.open(path, "w:gz") as archive:
        for info, data in entry(DESCRIPTION, bytes(range(256)) * 400):
            archive.addfile(info, io.BytesIO(data))
    path.write_bytes(path.read_bytes()[:-100])


def link_in_zip(path: Path) -> None:
    """Write a zip file with a symbolic link, as Unix programs mark it."""
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")


def no_archive(path: Path) -> None:
    """Write something else."""
    path.write_bytes(b"<html>not found</html>")


@pytest.mark.parametrize("write", [truncated, link_in_zip, no_archive])
def test_unusable_archives(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """What is no archive, or half of one, is an unusable bundle."""
    path = tmp_path / "bad"
    write(path)
    with pytest.raises(BundleError, match="bad: "):
        unpack(path, tmp_path / "bundle")
    assert [left.name for left in tmp_path.iterdir()] == ["bad"]
