"""`hdsynth check` against real servers, good and bad."""

from __future__ import annotations

import functools
import http.server
import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.auth import new_key
from service.check import CheckError, check, label_map
from tests.service.conftest import Server, pixels, png, start_server, stop_server
from tests.service.test_server import Certificates, certificates

__all__ = ["certificates"]
HDSYNTH = str(Path(sys.executable).with_name("hdsynth"))
FACES = ("rest", "grpc", "stream")


def address(server: Server, face: str) -> str:
    """Return where a server has a face."""
    return server.url if face == "rest" else server.grpc_address


@pytest.mark.parametrize("face", FACES)
def test_good_server(server: Server, face: str) -> None:
    """One line tells what was asked and what came back."""
    line = check(face, address(server, face), None, None)
    found = rf"{face} \S+: tiny [0-9a-f]{{12}} made 256x128 pixels, spread \d+ grey levels, in .* s"
    assert re.fullmatch(found, line)


def test_keys_and_tls(tiny_bundle: Path, certificates: Certificates, tmp_path: Path) -> None:
    """With the authority's certificate and the key from the environment every face is checked."""
    key, line = new_key("check")
    (tmp_path / "keys").write_text(f"{line}\n")
    plain = tmp_path / "server.key"
    command = ["openssl", "pkey", "-in", str(certificates.server_key), "-passin", "pass:swordfish"]
    subprocess.run([*command, "-out", str(plain)], check=True, capture_output=True)
    server = start_server(
        tmp_path / "stderr.log",
        model=tiny_bundle,
        buckets="64x64",
        api_keys_file=tmp_path / "keys",
        tls_certificate=certificates.server,
        tls_key=plain,
    )
    try:
        for face in FACES:
            command = [HDSYNTH, "check", face, address(server, face)]
            result = subprocess.run(
                [*command, "--ca", str(certificates.ca)],
                env={"HDSYNTH_API_KEY": key},
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 0, result.stderr
            assert "made 256x128 pixels" in result.stdout
            with pytest.raises(CheckError, match="UNAUTHENTICATED"):
                check(face, address(server, face), certificates.ca, None)
            with pytest.raises(CheckError):
                check(face, address(server, face), None, key)
    finally:
        stop_server(server)


@pytest.mark.parametrize("face", FACES)
def test_nobody_there(face: str) -> None:
    """A server that does not answer is told with its address."""
    with pytest.raises(CheckError, match=r"127\.0\.0\.1:9"):
        check(face, "http://127.0.0.1:9" if face == "rest" else "127.0.0.1:9", None, None)


@pytest.mark.parametrize(
    ("photo", "version", "words"),
    [
        (b"x", "1", "is no photograph"),
        (png(pixels(label_map(())) // 255 * 0 + 7), "1", "is flat"),
        (png(pixels(label_map(()))[:64]), "1", r"shape is \(64, 256, 3\)"),
        (label_map(()), "2", "from version '2', but the model is listed as '1'"),
    ],
)
def test_wrong_answers(photo: bytes, version: str, words: str) -> None:
    """A server whose answers look like those of ours, but are not, does not pass."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            model = {"name": "m", "version": "1", "classes": []}
            self.answer(json.dumps({"models": [model]}).encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(photo)

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("X-Model-Version", version)
            self.end_headers()
            self.wfile.write(body)

        log_message = functools.partialmethod(lambda *_: None)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(CheckError, match=words):
            check("rest", f"http://127.0.0.1:{server.server_port}", None, None)
        server.shutdown()


def test_classes_decide_what_is_drawn() -> None:
    """A label map holds classes of the model and no others."""
    assert pixels(label_map(["a", "b", "c"])).max() == 2
    assert pixels(label_map([str(n) for n in range(300)])).max() > 255
    assert pixels(label_map(())).shape == (128, 256, 3)
