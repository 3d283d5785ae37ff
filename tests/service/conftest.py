"""A real server process on a real socket, and what a caller sends to it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.scenes import Scene, draw_scene

RUN = "from service.app import run; from service.settings import Settings; run(Settings())"


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def metrics_url(self) -> str:
        """Where its metrics and, beside them, its probes are."""
        (found,) = re.findall(r"metrics at (http://\S+)/metrics", self.log.read_text())
        return str(found)

    @property
    def grpc_address(self) -> str:
        """Where it serves gRPC."""
        (found,) = re.findall(r"gRPC at (\S+:\d+)", self.log.read_text())
        return str(found)

    def record(self, request_id: str) -> dict[str, Any]:
        """Wait for a request's line in the log, which follows its answer; return its fields."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines(keepends=True):
                if line.endswith("\n") and request_id in line and '"duration_ms"' in line:
                    fields: dict[str, Any] = json.loads(line)
                    return fields
            time.sleep(0.02)
        raise AssertionError(f"{request_id} is not in the log: {self.log.read_text()}")


def start_server(log: Path, **settings: object) -> Server:
    """Start a server on a free port and wait until it announces that it is ready."""
    environment = {key: value for key, value in os.environ.items() if "HDSYNTH_" not in key}
    environment |= {f"HDSYNTH_{key.upper()}": str(value) for key, value in settings.items()}
    environment |= {"HDSYNTH_PORT": "0", "HDSYNTH_GRPC_PORT": "0", "HDSYNTH_METRICS_PORT": "0"}
    environment |= {"HDSYNTH_THREADS": "1"}
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-c", RUN], env=environment, stderr=stderr)
    while process.poll() is None:
        if found := re.search(r"(https?://\S+) serves", log.read_text()):
            return Server(process, found[1], log)
        time.sleep(0.05)  # leaves the processor to the server
    raise RuntimeError(f"the server ended with {process.returncode}: {log.read_text()}")


def stop_server(server: Server) -> None:
    """End a server that a test started."""
    server.process.kill()
    server.process.wait()


@pytest.fixture(scope="session")
def server(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that only talk to it."""
    log = tmp_path_factory.mktemp("server") / "stderr.log"
    # Without the cache, so that the same request is served anew every time.
    server = start_server(log, model=tiny_bundle, buckets="64x64", result_cache_mb=0)
    yield server
    stop_server(server)


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    """A client of that server."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def scene() -> Scene:
    """A small street scene."""
    return draw_scene(96, 80, seed=1)


@pytest.fixture(scope="session")
def files(scene: Scene) -> dict[str, bytes]:
    """Its label and instance map as uploads."""
    return {"label": png(scene.label), "instance": png(scene.instance)}


@pytest.fixture
def still_serves(client: httpx.Client, files: dict[str, bytes]) -> Iterator[None]:
    """Check after the test that the server gives the same photograph as before it."""
    before = client.post("/synthesize", files=files)
    yield
    after = client.post("/synthesize", files=files)
    assert (before.status_code, after.status_code) == (200, 200)
    assert after.content == before.content


def png(array: NDArray[np.generic]) -> bytes:
    """Encode an array as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def pixels(photo: bytes) -> NDArray[np.uint8]:
    """Decode a photograph."""
    return np.asarray(Image.open(io.BytesIO(photo)))
