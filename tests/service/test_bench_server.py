"""The server that benchmarks and the demo start for themselves."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

_BLOCK = """
import sys, time
from service.bench_server import local_server
with local_server(model=sys.argv[1], backend="fake", buckets="96x80") as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""


def test_sigterm_leaves_no_server_running(tiny_bundle: Path) -> None:
    """Whoever is told to end ends the server that it has started."""
    command = [sys.executable, "-c", _BLOCK, str(tiny_bundle)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        server = int(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert not Path(f"/proc/{server}").exists()
