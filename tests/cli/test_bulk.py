"""Bulk runs: every map becomes one photograph, whatever happens on the way."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HDSYNTH = Path(sys.executable).with_name("hdsynth")
RESTART = Path(__file__).parents[1] / "soak" / "bulk_restart.py"
CRASH, POISON = 9, 8
BACKEND = f"fake:crash={CRASH},poison={POISON}"


def hdsynth(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    command = [str(HDSYNTH), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def png(value: int, height: int = 16) -> bytes:
    """A label map of one class."""
    file = io.BytesIO()
    Image.fromarray(np.full((height, 16), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def write_shard(path: Path, members: dict[str, bytes]) -> None:
    """A tar file with these members."""
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def errors(folder: Path) -> dict[str, str]:
    """The errors that a run recorded, by name."""
    lines = (folder / "_bulk/errors.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["name"]: line["error"] for line in map(json.loads, lines)}


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """Variables that lead every process to an object store of its own."""
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment
    server.stop()


def test_a_killed_run_goes_on(plain_bundle: Path) -> None:
    """SIGKILL of all processes half-way: afterwards all are there, none twice and none torn."""
    command = [sys.executable, str(RESTART), "--maps", "40", "--model", str(plain_bundle),
               "--backend", "fake:image_ms=60"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 20 <= found["there_at_kill"] < 40
    assert found["there_after_restart"] == 40
    assert found["restart"]["already_done"] == found["there_at_kill"]
    assert found["restart"]["photos"] == 40 - found["there_at_kill"]


def test_errors_do_not_stop_the_rest(plain_bundle: Path, tmp_path: Path) -> None:
    """A broken map, a missing file, one that no engine can do, one that kills its worker."""
    source, target = tmp_path / "maps", tmp_path / "photos"
    for name, data in {
        **{f"{i:02}": png(i % 3, 16 + i % 2) for i in range(12)},
        "broken": png(1)[:40],
        "crash": png(CRASH),
        "lonely": png(1),
        "poison": png(POISON),
    }.items():
        for folder in ("label", "instance"):
            path = source / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (source / "instance/lonely.png").unlink()
    options = ("--engine", "ray", source, target, "--model", plain_bundle, "--backend", BACKEND,
               "--workers", "1")  # fmt: skip
    done = hdsynth("synthesize", *options)
    assert done.returncode == 3, done.stderr
    found = errors(target)
    assert found.keys() == {"broken", "crash", "lonely", "poison"}
    assert "died" in found["crash"]
    assert "instance/lonely.png" in found["lonely"]
    assert f"cannot do label {POISON}" in found["poison"]
    for i in range(12):
        photo = np.asarray(Image.open(target / f"{i:02}.png"))
        assert photo.shape == (16 + i % 2, 16, 3)
        assert (photo[..., 0] == i % 3).all()

    done = hdsynth("synthesize", *options, "--seed", "1")
    assert done.returncode == 3
    assert "made with styles" in done.stderr


def test_shards_in_and_out_of_an_object_store(
    plain_bundle: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """A shard becomes a shard of the same keys; a torn one is left out, and tried again later."""
    fsspec = pytest.importorskip("s3fs")
    bucket = fsspec.S3FileSystem(endpoint_url=environment["AWS_ENDPOINT_URL"])
    bucket.mkdir("photos")
    whole = tmp_path / "whole.tar"
    members = {f"k{i}.label.png": png(i) for i in range(5)}
    write_shard(whole, {**members, "bad.label.png": b"no map", "none.json": b"{}"})
    bucket.pipe_file("photos/maps/a.tar", whole.read_bytes())
    bucket.pipe_file("photos/maps/torn.tar", whole.read_bytes()[:2000])
    command = ("synthesize", "--engine", "ray", "--shards", "s3://photos/maps", "s3://photos/out",
               "--model", plain_bundle, "--backend", BACKEND, "--workers", "1")  # fmt: skip
    done = hdsynth(*command)
    assert done.returncode == 3, done.stderr
    bucket.invalidate_cache()
    assert [*bucket.ls("photos/out", detail=False)] == ["photos/out/_bulk", "photos/out/a.tar"]
    with tarfile.open(fileobj=io.BytesIO(bucket.cat_file("photos/out/a.tar"))) as archive:
        found = {m.name: np.asarray(Image.open(archive.extractfile(m) or "")) for m in archive}
    assert [*found] == [f"k{i}.png" for i in range(5)]
    assert all((photo[..., 0] == i).all() for i, photo in enumerate(found.values()))
    lines = bucket.cat_file("photos/out/_bulk/errors.jsonl").splitlines()
    assert {json.loads(line)["name"] for line in lines} == {
        "torn.tar", "a.tar/bad", "a.tar/none",
    }  # fmt: skip

    # The second run has nothing left to do, and still tells what is missing.
    bucket.rm("photos/maps/torn.tar")
    done = hdsynth(*command)
    assert done.returncode == 3
    assert "1 inputs had been done before" in done.stderr
    assert "2 errors" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["maps"], "where the photographs go"),
        (["maps", "out", "--shards"], "--shards has no meaning"),
        (["--engine", "ray", "maps", "out", "--sheet", "x.png"], "--sheet has no meaning"),
        (["--engine", "ray", "maps", "more", "out"], "one folder"),
        (["maps", "out", "--backend", "magic"], "tensorrt_rtx"),
    ],
)
def test_wrong_usage_says_what_to_write(arguments: list[str], words: str, tmp_path: Path) -> None:
    """Options of the other engine are refused, not ignored."""
    done = hdsynth("synthesize", *arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


def test_a_folder_without_maps(tmp_path: Path) -> None:
    """Nothing to do is an error that names the folder, before anything is started."""
    for option, words in ((), "no PNG label maps"), (("--shards",), "no shards"):
        done = hdsynth("synthesize", "--engine", "ray", tmp_path, tmp_path / "out", *option)
        assert done.returncode == 3
        assert f"{tmp_path}: {words}" in done.stderr
    assert not (tmp_path / "out").exists()
