import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings
from tests.service.conftest import RUN, Server, pixels, png, start_server, stop_server
from tests.service.fake_engines import POISON


def ask(
    app: FastAPI, method: str, address: str, files: dict[str, bytes] | None = None
) -> httpx.Response:
    """Send one request to an application in this process, without starting it."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, address, files=files)

    return asyncio.run(send())


def run_to_its_end(**settings: object) -> str:
    """Start a server that cannot start; return its last line."""
    settings = {"grpc_port": 0, "metrics_port": 0} | settings
    environment = os.environ | {f"HDSYNTH_{k.upper()}": str(v) for k, v in settings.items()}
    command = [sys.executable, "-c", RUN]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    return result.stderr.splitlines()[-1]


def test_import_is_light() -> None:
    """Importing the application loads no engine and no torch."""
    program = "import sys, service.app; print({'torch', 'onnxruntime'} & sys.modules.keys())"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_start_is_told_in_one_line(server: Server) -> None:
    """The log has the address, the model and the engine in one line."""
    (line,) = (line for line in server.log.read_text().splitlines() if " serves " in line)
    assert f"{server.url} serves tiny" in line
    assert re.search(r"on (onnx|openvino) CPU float32, ready after", line)


@pytest.mark.parametrize(
    ("address", "status"), [("/livez", 200), ("/readyz", 503), ("/v1/models", 503)]
)
def test_not_ready_before_the_model(tiny_bundle: Path, address: str, status: int) -> None:
    """Until the model has been warmed up the server lives, and says that it is not ready."""
    response = ask(create_app(Settings(model=(str(tiny_bundle),))), "GET", address)
    assert response.status_code == status
    assert (response.json().get("reason") == "MODEL_LOADING") is (status == 503)


def test_server_without_a_model_ends(tmp_path: Path) -> None:
    """A folder without a bundle ends the server with the bundle's own error."""
    assert f"BundleError: {tmp_path}: no bundle here" in run_to_its_end(model=tmp_path, port=0)


def test_address_in_use_is_told(server: Server, tiny_bundle: Path) -> None:
    """A port that is taken is told with what to do about it."""
    port = httpx.URL(server.url).port
    line = run_to_its_end(model=tiny_bundle, port=port)
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use;" in line
    assert "--port" in line


def test_failing_engine_is_our_fault(tiny_bundle: Path, tmp_path: Path) -> None:
    """A failure inside is a 500 without its inner words, which the log has under the same id."""
    log = tmp_path / "stderr.log"
    server = start_server(log, model=tiny_bundle, buckets="64x64", backend=f"fake:poison={POISON}")
    try:
        label = png(np.full((64, 64), POISON, np.uint8))
        response = httpx.post(f"{server.url}/synthesize", files={"label": label})
    finally:
        stop_server(server)
    problem = response.json()
    assert (response.status_code, problem["reason"]) == (500, "INTERNAL")
    assert problem["request_id"] == response.headers["x-request-id"]
    assert "0x7f3a" not in response.text
    assert problem["request_id"] in log.read_text()
    assert "0x7f3a" in log.read_text()


def test_running_requests_finish_after_sigterm(
    tiny_bundle: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    """A request that the server has begun to read is answered; new connections are refused."""
    server = start_server(tmp_path / "stderr.log", model=tiny_bundle, buckets="64x64")
    address = (httpx.URL(server.url).host, httpx.URL(server.url).port or 0)
    body = httpx.Request("POST", server.url, files=files)
    head = (
        f"POST /synthesize HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n"
        f"Content-Type: {body.headers['content-type']}\r\n"
        f"Content-Length: {body.headers['content-length']}\r\n\r\n"
    )
    try:
        with socket.create_connection(address) as connection:
            connection.sendall(head.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 100")
            server.process.send_signal(signal.SIGTERM)
            wait_until_closed(address)
            connection.sendall(body.read())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    finally:
        code = server.process.wait(timeout=60)
        stop_server(server)
    assert code == 0
    head_text, _, photo = answer.partition(b"\r\n\r\n")
    assert head_text.startswith(b"HTTP/1.1 200")
    assert pixels(photo).shape == (80, 96, 3)


def wait_until_closed(address: tuple[str, int]) -> None:
    """Return once the server accepts no more connections."""
    while True:
        try:
            socket.create_connection(address).close()
        except ConnectionResetError:
            continue  # it was closing at that very moment
        except ConnectionRefusedError:
            return
