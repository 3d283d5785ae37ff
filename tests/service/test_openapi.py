"""The server keeps what its OpenAPI document says, whatever is sent to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx

from service.errors import REASONS
from tests.service.conftest import Server

# 504 is what a deadline of a millisecond asks for.
CONFIGURATION = """
[parameters]
"path.model" = "tiny"

[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 504]
"""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


def test_document_tells_the_reasons(client: httpx.Client) -> None:
    """Each problem of a synthesis stands under its status, with the wait where there is one."""
    document = client.get("/openapi.json").json()
    responses = document["paths"]["/v1/synthesize"]["post"]["responses"]
    for reason in ("LABEL_OUT_OF_RANGE", "QUEUE_FULL", "DRAINING", "DEADLINE_EXCEEDED"):
        row = REASONS[reason]
        response = responses[str(row.http)]
        assert f"`{reason}`" in response["description"]
        assert ("Retry-After" in response.get("headers", {})) is row.retryable


def test_schemathesis_finds_nothing(server: Server, tmp_path: Path) -> None:
    """Generated requests, valid and not, are answered as documented and never with a 5xx."""
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json"),
        *("--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS)),
        *("--max-examples", "15", "--seed", "1", "--no-color"),
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
