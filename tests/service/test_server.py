import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse

from service.disconnect import run_until_disconnect
from service.lifecycle import Lifecycle
from service.metrics import REGISTRY
from service.middleware import RequestContext, UploadLimit
from service.problem import add_problem_handlers
from service.server import Server, tls_context
from service.settings import Settings

TIMEOUT_S = 0.5
OPENSSL = shutil.which("openssl") or "openssl"
PASSWORD = "swordfish"  # noqa: S105, of a key that the tests make


@dataclass
class Work:
    """What the test's application has done."""

    began: threading.Event = field(default_factory=threading.Event)
    finish: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)


def application(work: Work, lifecycle: Lifecycle) -> FastAPI:
    """Build an application of two routes within our middleware: one reads, one works."""
    app = FastAPI(openapi_url=None)

    @app.post("/read")
    async def read(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    @app.get("/early")
    @app.post("/early")
    async def early() -> PlainTextResponse:
        return PlainTextResponse("answered before the body was read")

    @app.post("/work")
    async def synthesize(request: Request) -> PlainTextResponse:
        await request.body()
        return PlainTextResponse(await run_until_disconnect(request, until_told()))

    async def until_told() -> str:
        work.began.set()
        try:
            while not await asyncio.to_thread(work.finish.wait, 0.01):
                pass
        except asyncio.CancelledError:
            work.cancelled.set()
            raise
        return "done"

    add_problem_handlers(app)
    app.add_middleware(UploadLimit, max_bytes=1000, timeout_s=TIMEOUT_S)
    app.add_middleware(RequestContext, lifecycle=lifecycle)
    return app


@dataclass(frozen=True)
class Running:
    """A server in a thread of this process."""

    address: tuple[str, int]
    server: Server
    lifecycle: Lifecycle
    work: Work
    thread: threading.Thread


@contextmanager
def running(**options: object) -> Iterator[Running]:
    """Serve the application on a free port; options are settings."""
    settings = Settings(request_timeout_s=TIMEOUT_S, **options)  # type: ignore[arg-type]
    work, lifecycle = Work(), Lifecycle()
    server = Server(application(work, lifecycle), settings, lifecycle)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        yield Running(listener.getsockname(), server, lifecycle, work, thread)
        work.finish.set()
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def plain() -> Iterator[Running]:
    """A server without TLS."""
    with running() as server:
        yield server


def converse(server: Running, data: bytes) -> bytes:
    """Send bytes, then wait for what comes back until the server closes the connection."""
    with socket.create_connection(server.address) as connection:
        connection.settimeout(20)
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def requests(**labels: str) -> float:
    """Read the counter of requests."""
    return REGISTRY.get_sample_value("hdsynth_requests_total", labels) or 0


def counted(server_count: float, **labels: str) -> bool:
    """Wait until the counter of requests is above a count; the record follows the answer."""
    for _ in range(1000):
        if requests(**labels) > server_count:
            return True
        time.sleep(0.01)
    return False


def head(path: str, length: int) -> bytes:
    """Write a request's head."""
    return f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n".encode()


@pytest.mark.parametrize("sent", [head("/read", 3)[:-2], b"POST /read HTTP/1.1\r\nA: b", b"G"])
def test_slow_head_is_given_up(plain: Running, sent: bytes) -> None:
    """A head that does not end is answered with a problem after a while (slowloris)."""
    labels = {"api": "other", "model": "", "code": "408", "reason": "UPLOAD_TOO_SLOW"}
    before = requests(**labels)
    answer_head, _, body = converse(plain, sent).partition(b"\r\n\r\n")
    assert answer_head.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer_head
    assert json.loads(body)["reason"] == "UPLOAD_TOO_SLOW"
    assert requests(**labels) == before + 1


def test_trickling_head_is_given_up(plain: Running) -> None:
    """A byte now and then does not win time."""
    with socket.create_connection(plain.address) as connection:
        connection.settimeout(20)
        connection.sendall(b"GET /early HTTP/1.1\r\nX: ")
        received = b""
        while not received:
            connection.sendall(b"x")
            connection.setblocking(False)
            try:
                received = connection.recv(100)
            except BlockingIOError:
                time.sleep(TIMEOUT_S / 5)
            connection.setblocking(True)
    assert received.startswith(b"HTTP/1.1 408 ")


def test_slow_body_is_given_up(plain: Running) -> None:
    """A body that does not arrive is answered with a problem, and the connection closed."""
    answer_head, _, body = converse(plain, head("/read", 10) + b"12345").partition(b"\r\n\r\n")
    assert answer_head.startswith(b"HTTP/1.1 408 ")
    problem = json.loads(body)
    assert (problem["reason"], problem["status"]) == ("UPLOAD_TOO_SLOW", 408)
    assert "0.5 s" in problem["detail"]


def test_body_that_nobody_reads_is_given_up(plain: Running) -> None:
    """Whoever goes on sending after the answer does not keep the connection."""
    assert b"answered before" in converse(plain, head("/early", 10) + b"12345")


def test_silent_connection_is_closed(plain: Running) -> None:
    """Without a request there is nothing to answer."""
    assert converse(plain, b"") == b""


def test_time_of_the_answer_does_not_count(plain: Running) -> None:
    """Only the arrival of a request is limited, not the work for it."""
    plain.work.finish.clear()
    with socket.create_connection(plain.address) as connection:
        connection.settimeout(20)
        connection.sendall(head("/work", 1) + b"x")
        time.sleep(2 * TIMEOUT_S)
        plain.work.finish.set()
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_several_requests_on_one_connection(plain: Running) -> None:
    """A connection may live longer than the time that one request gets."""
    with httpx.Client(base_url="http://{}:{}".format(*plain.address)) as client:
        for _ in range(4):
            assert client.post("/read", content=b"123").text == "3"
            time.sleep(TIMEOUT_S / 3)


def test_work_ends_when_the_client_leaves(plain: Running) -> None:
    """The task is cancelled, and the request is recorded as one that nobody waited for."""
    labels = {"api": "rest.synthesize", "model": "", "code": "499", "reason": "CANCELLED"}
    before = requests(**labels)
    plain.work.finish.clear()
    plain.work.began.clear()
    with socket.create_connection(plain.address) as connection:
        connection.sendall(head("/work", 1) + b"x")
        assert plain.work.began.wait(20)
    assert plain.work.cancelled.wait(20)
    assert counted(before, **labels)


def test_client_that_leaves_while_sending_is_recorded_as_such(plain: Running) -> None:
    """An upload that breaks off is nobody's fault here."""
    labels = {"api": "rest.read", "model": "", "code": "499", "reason": "CANCELLED"}
    before = requests(**labels)
    with socket.create_connection(plain.address) as connection:
        connection.sendall(head("/read", 10) + b"12345")
    assert counted(before, **labels)


def test_work_that_outlasts_the_drain_is_told(plain: Running) -> None:
    """At the end of its time a request is answered with a problem, not with silence."""
    with running(shutdown_timeout_s=1) as server:
        with socket.create_connection(server.address) as connection:
            connection.settimeout(20)
            connection.sendall(head("/work", 1) + b"x")
            assert server.work.began.wait(20)
            server.server.should_exit = True
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        server.thread.join(20)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"DRAINING"' in answer
    assert server.work.cancelled.is_set()


@dataclass(frozen=True)
class Certificates:
    """PEM files."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and a certificate of it for a server and for a client."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run([OPENSSL, *arguments], cwd=folder, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    openssl("req", "-x509", *curve, "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj",
            "/CN=test authority")  # fmt: skip
    for name, how in (("server", ["-passout", f"pass:{PASSWORD}"]), ("client", ["-nodes"])):
        openssl("req", *curve, *how, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
                f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-copy_extensions", "copy", "-out", f"{name}.pem")  # fmt: skip
    names = ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")
    return Certificates(*(folder / name for name in names))


@pytest.fixture(scope="module")
def mutual(certificates: Certificates) -> Iterator[Running]:
    """A server that shows a certificate and wants one of its clients."""
    with running(
        tls_certificate=certificates.server,
        tls_key=certificates.server_key,
        tls_key_password=PASSWORD,
        tls_client_ca=certificates.ca,
    ) as server:
        yield server


def client_context(certificates: Certificates, *, known: bool) -> ssl.SSLContext:
    """Trust the authority; show a certificate if ``known``."""
    context = ssl.create_default_context(cafile=str(certificates.ca))
    if known:
        context.load_cert_chain(certificates.client, certificates.client_key)
    return context


def test_tls_with_a_client_certificate(mutual: Running, certificates: Certificates) -> None:
    """Whoever shows a certificate of the authority is served over TLS."""
    context = client_context(certificates, known=True)
    url = "https://{}:{}/read".format(*mutual.address)
    assert httpx.post(url, content=b"123", verify=context).text == "3"


def test_client_without_a_certificate_is_refused(
    mutual: Running, certificates: Certificates
) -> None:
    """Nobody else gets as far as a request."""
    context = client_context(certificates, known=False)
    with pytest.raises(httpx.TransportError):
        httpx.post("https://{}:{}/read".format(*mutual.address), content=b"123", verify=context)
    with pytest.raises(httpx.TransportError):
        httpx.post("http://{}:{}/read".format(*mutual.address), content=b"123")


@pytest.mark.parametrize(("version", "spoken"), [("-tls1_1", False), ("-tls1_2", True)])
def test_old_tls_is_refused(
    mutual: Running, certificates: Certificates, version: str, spoken: bool
) -> None:
    """TLS 1.2 is the oldest that is spoken."""
    tried = subprocess.run(
        [
            *(OPENSSL, "s_client", "-connect", "{}:{}".format(*mutual.address), version),
            *("-cipher", "ALL:@SECLEVEL=0", "-cert", certificates.client),
            *("-key", certificates.client_key),
        ],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("Cipher is (NONE)" not in tried.stdout) is spoken


def test_unusable_certificates_are_told_at_the_start(certificates: Certificates) -> None:
    """A wrong password, a foreign key and a file of no certificates end the start by name."""
    files: dict[str, Any] = {
        "tls_certificate": certificates.server,
        "tls_key": certificates.server_key,
    }
    with pytest.raises(ValueError, match=r"server\.pem and .*server\.key .*password"):
        tls_context(Settings(**files))
    files |= {"tls_key": certificates.client_key}
    with pytest.raises(ValueError, match=r"client\.key are no certificate and its key"):
        tls_context(Settings(**files))
    files |= {"tls_certificate": certificates.client}
    with pytest.raises(ValueError, match=r"client\.key: holds no certificates"):
        tls_context(Settings(**files, tls_client_ca=certificates.client_key))
