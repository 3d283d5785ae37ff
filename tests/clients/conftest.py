"""The client package, which lives apart from the server's, and servers to call."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.conftest import Server, start_server, stop_server

PACKAGE = Path(__file__).resolve().parents[2] / "clients" / "python"
if str(PACKAGE) not in sys.path:
    sys.path.insert(0, str(PACKAGE))

TIGHT = {"backend": "fake:base_ms=100", "max_batch": 1, "max_wait_s": 0.15, "result_cache_mb": 0}
"""A server that takes ten requests a second, and refuses whoever would wait longer than one run."""


@pytest.fixture(scope="module")
def tiny_server(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the tiny model."""
    log = tmp_path_factory.mktemp("client") / "log"
    server = start_server(log, model=tiny_bundle, buckets="64x64", result_cache_mb=0)
    yield server
    stop_server(server)


@pytest.fixture
def tight_server(tiny_bundle: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that is soon too busy."""
    server = start_server(tmp_path / "log", model=tiny_bundle, buckets="64x64", **TIGHT)
    yield server
    stop_server(server)
