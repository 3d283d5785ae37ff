"""A server of one's own to measure: started, watched and ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_START = "from service.app import run; from service.settings import Settings; run(Settings())"
_PATIENCE_S = 300.0


@dataclass(frozen=True)
class LocalServer:
    """A running server."""

    pid: int
    grpc_address: str

    def cpu_seconds(self) -> float:
        """Return the processor time that the server and its engine have used."""
        return cpu_seconds(self.pid)

    def memory_mb(self) -> float:
        """Return the resident memory of the server and its engine in millions of bytes."""
        return sum(map(_resident_bytes, [self.pid, *_children(self.pid)])) / 1e6


@contextmanager
def _ended_cleanly() -> Iterator[None]:
    """Let SIGTERM end the block as an exception does, so that nothing is left running."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's business
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def local_server(**settings: object) -> Iterator[LocalServer]:
    """Start a server on free ports and end it afterwards. Raises RuntimeError with its log."""
    environment = {key: value for key, value in os.environ.items() if "HDSYNTH_" not in key}
    given = {"port": 0, "grpc_port": 0, "metrics_port": "off", **settings}
    environment |= {f"HDSYNTH_{key.upper()}": str(value) for key, value in given.items()}
    with _ended_cleanly(), tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stderr:
            command = [sys.executable, "-c", _START]
            process = subprocess.Popen(command, env=environment, stderr=stderr)  # noqa: S603, ours
        try:
            yield LocalServer(process.pid, _address(process, log))
        finally:
            process.terminate()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        text = log.read_text(encoding="utf-8")
        if " serves " in text and (found := re.search(r"gRPC at (\S+:\d+)", text)):
            return found[1]
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start: {log.read_text(encoding='utf-8')[-2000:]}")


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and all those below it have used."""
    try:
        below = sum(map(cpu_seconds, _children(pid)))
        return below + _cpu_seconds(pid)
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0.0


def _children(pid: int) -> list[int]:
    """Return the child processes of all threads of a process."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for listed in lists for child in listed.read_text().split()]


def _resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]  # proc(5)
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _cpu_seconds(pid: int) -> float:
    # proc(5): the name, in parentheses, may hold blanks; utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
