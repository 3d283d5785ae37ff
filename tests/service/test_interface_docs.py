"""The programs in the documents of the interfaces run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import Server

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(
    ("document", "shown"),
    [
        ("grpc.md", "print(photo.width, photo.height)"),
        ("open-inference-protocol.md", "print(*photo.shape)"),
    ],
)
def test_programs_run(
    server: Server, files: dict[str, bytes], tmp_path: Path, document: str, shown: str
) -> None:
    """One after the other, against a server at another address with another model."""
    text = (DOCS / document).read_text(encoding="utf-8")
    program = "".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    program = program.replace("127.0.0.1:8001", server.grpc_address).replace("facades", "tiny")
    (tmp_path / "label.png").write_bytes(files["label"])
    command = [sys.executable, "-c", program + shown]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    sizes = {"grpc.md": "96 80", "open-inference-protocol.md": "256 512 3"}
    assert result.stdout.splitlines()[-1] == sizes[document]
    if document == "grpc.md":
        assert "StatusCode.INVALID_ARGUMENT MISSING_FIELD" in result.stdout
        assert (tmp_path / "photo.jpg").read_bytes().startswith(b"\xff\xd8\xff")
