"""The wire's messages: stubs as generated, in style, and safe for clients of the last release."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROTO = Path(__file__).resolve().parents[2] / "proto"
BUF = Path(sys.executable).with_name("buf")


def buf(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run buf, which needs no network for files of our own."""
    return subprocess.run([BUF, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the messages to change."""
    return Path(shutil.copytree(PROTO, tmp_path / "proto"))


def test_stubs_are_what_the_messages_generate(tmp_path: Path) -> None:
    """`make proto` has been run since the messages changed."""
    environment = os.environ | {"PYTHON": sys.executable}
    subprocess.run([PROTO / "generate.sh", tmp_path], env=environment, check=True)
    fresh = {p.relative_to(tmp_path): p.read_text() for p in tmp_path.rglob("*_pb2*.py*")}
    ours = {
        p.relative_to(PROTO): p.read_text() for p in PROTO.rglob("*_pb2*.py*") if p.suffix != ".pyc"
    }
    assert len(fresh) == 5
    assert fresh == {name: text for name, text in ours.items() if "__pycache__" not in name.parts}


def test_style() -> None:
    """The messages follow the rules that buf.yaml names, and buf's layout."""
    assert buf("lint", str(PROTO)).stdout == ""
    assert buf("format", "--diff", "--exit-code", str(PROTO)).stdout == ""


def test_clients_of_the_last_release_still_work() -> None:
    """Nothing that released.binpb describes has been removed, renumbered or given a new type."""
    result = buf("breaking", str(PROTO), "--against", str(PROTO / "released.binpb"))
    assert (result.returncode, result.stdout) == (0, "")


def test_a_renumbered_field_is_noticed(copy: Path) -> None:
    """The comparison can fail: it names the field that old clients would misread."""
    messages = copy / "hdsynth" / "v1" / "synthesis.proto"
    text = messages.read_text()
    assert "uint32 quality = 6;" in text
    messages.write_text(text.replace("uint32 quality = 6;", "uint32 quality = 60;"))
    result = buf("breaking", str(copy), "--against", str(PROTO / "released.binpb"))
    assert result.returncode == 100
    assert '"quality"' in result.stdout
