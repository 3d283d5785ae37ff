"""Servers started for a measurement: ours, and others around the same model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.request import urlopen

import service.bench_adapters
from service.bench_serve import Endpoint, Work, run_once

ADAPTERS = ("litserve", "bentoml", "rayserve", "null")
"""Servers that ours can be compared with; ``null`` answers at once, and so shows what the load
generator itself can do."""
START_S = 60.0
"""Seconds that a server gets to answer its first request."""
_RUN = "from service.app import run; from service.settings import Settings; run(Settings())"


class BenchServerError(RuntimeError):
    """A server that was to be measured does not serve."""


@dataclass(frozen=True)
class Started:
    """A server that was started for a measurement."""

    endpoint: Endpoint
    pid: int
    grpc: str = ""
    """Address of the gRPC face, if it has one."""
    metrics_url: str = ""

    def face(self, name: str) -> Endpoint:
        """Return where to ask over ``rest``, ``grpc`` or ``grpc-raw``."""
        if name == "rest":
            return self.endpoint
        words = {"grpc": "gRPC", "grpc-raw": "gRPC, raw maps"}[name]
        title = f"{self.endpoint.name}, {words}"
        return replace(self.endpoint, name=title, grpc=self.grpc, raw=name == "grpc-raw")


@contextmanager
def our_server(settings: Mapping[str, object], work: Work) -> Iterator[Started]:
    """Start ours with some settings; it ends with the context. Raises BenchServerError."""
    http, rpc, metrics = _free_ports(3)
    given = {"port": http, "grpc_port": rpc, "metrics_port": metrics, "log_level": "warning"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HDSYNTH_")}
    environment |= {f"HDSYNTH_{k.upper()}": str(v) for k, v in (given | {**settings}).items()}
    with _process("hdsynth", [sys.executable, "-c", _RUN], environment) as process:
        base = f"http://127.0.0.1:{http}"
        _wait(process, "hdsynth", f"{base}/readyz")
        endpoint = Endpoint("hdsynth", f"{base}/v1/synthesize", pid=process.pid)
        _require_answer(endpoint, work)
        metrics_url = f"http://127.0.0.1:{metrics}/metrics"
        yield Started(endpoint, process.pid, f"127.0.0.1:{rpc}", metrics_url)


@contextmanager
def other_server(
    adapter: str, python: str, options: Mapping[str, object], work: Work
) -> Iterator[Started]:
    """Start an adapter under the interpreter of its environment. Raises BenchServerError."""
    (port,) = _free_ports(1)
    folder = Path(service.bench_adapters.__file__).parent
    environment = os.environ | {f"BENCH_{key.upper()}": str(v) for key, v in options.items()}
    environment["BENCH_PORT"] = str(port)
    command = [python, str(folder / f"{adapter}_server.py")]
    with _process(adapter, command, environment) as process:
        endpoint = Endpoint(adapter, f"http://127.0.0.1:{port}/v1/synthesize", pid=process.pid)
        _wait(process, adapter, port=port)
        _require_answer(endpoint, work)
        yield Started(endpoint, process.pid)


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """End a server with all its processes."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=15)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


@contextmanager
def _process(
    name: str, command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with ExitStack() as stack:
        log = stack.enter_context(tempfile.NamedTemporaryFile(prefix=f"{name}-", suffix=".log"))
        try:
            process = subprocess.Popen(  # noqa: S603, chosen by who measures
                command, env=dict(environment), stdout=log, stderr=log, start_new_session=True
            )
        except OSError as error:
            raise BenchServerError(f"{name}: cannot start {command[0]}: {error}") from error
        try:
            yield process
        except BenchServerError as error:
            words = Path(log.name).read_text(encoding="utf-8", errors="replace")[-2000:]
            raise BenchServerError(f"{error}\n{words}") from error
        finally:
            stop_group(process)


def _wait(process: subprocess.Popen[bytes], name: str, url: str = "", *, port: int = 0) -> None:
    """Wait until a server is ready, or listens where no address tells."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise BenchServerError(f"{name}: ended with status {process.returncode}")
        with suppress(OSError):  # URLError is one
            if url:
                urlopen(url, timeout=5).close()  # noqa: S310, ours
            else:
                socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.2)
    raise BenchServerError(f"{name}: is not ready after {START_S:.0f} s")


def _require_answer(endpoint: Endpoint, work: Work) -> None:
    """Ask until a photograph comes, since many servers listen before they can serve."""
    end = time.monotonic() + START_S
    while (answer := run_once(endpoint, work)).outcome != "served":
        if time.monotonic() > end:
            raise BenchServerError(f"{endpoint.name}: answers {answer.code} to every request")
        time.sleep(0.5)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [taken.getsockname()[1] for taken in sockets]
