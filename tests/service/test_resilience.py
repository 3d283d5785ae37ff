"""A whole server whose engine fails, dies or is asked for too much."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from tests.service.conftest import Server, png, start_server, stop_server
from tests.service.fake_engines import BACKEND, CRASH, FATAL, POISON, SLOW


@contextmanager
def serving(folder: Path, log: Path, **settings: object) -> Iterator[Server]:
    """Run a server around the engine of known speed."""
    settings = {"model": folder, "buckets": "64x64", "backend": BACKEND} | settings
    server = start_server(log, **settings)
    try:
        yield server
    finally:
        stop_server(server)


def files(label: int = 1) -> dict[str, bytes]:
    """Return the upload of a scene of one label."""
    return {"label": png(np.full((64, 64), label, np.uint8))}


def ask(server: Server, label: int = 1) -> httpx.Response:
    """Ask for a photograph."""
    return httpx.post(f"{server.url}/synthesize", files=files(label), timeout=60)


def engine_pid(server: Server) -> int:
    """Return the process id of the engine."""
    return int(re.findall(r"in process (\d+), warm", server.log.read_text())[-1])


def wait_until_ready(server: Server, status: int = 200) -> None:
    """Ask the readiness probe until it answers as wanted."""
    give_up = time.monotonic() + 30
    while httpx.get(f"{server.url}/readyz").status_code != status:
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_killed_engine_is_replaced(tiny_bundle: Path, tmp_path: Path) -> None:
    """After kill -9 who waits gets a 503, the server is not ready, and then it serves again."""
    with (
        serving(tiny_bundle, tmp_path / "log") as server,
        ThreadPoolExecutor(4) as callers,
    ):
        before = ask(server)
        waiting = [callers.submit(ask, server, SLOW) for _ in range(4)]
        wait_until_busy(server)
        os.kill(engine_pid(server), signal.SIGKILL)
        killed = time.monotonic()
        answers = [answer.result(timeout=30) for answer in waiting]
        assert time.monotonic() - killed < 30  # the scenes themselves take a minute
        assert {answer.json()["reason"] for answer in answers} == {"ENGINE_LOST"}
        assert {answer.status_code for answer in answers} == {503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
        wait_until_ready(server)
        assert ask(server).content == before.content
        assert server.process.poll() is None


def wait_until_busy(server: Server) -> None:
    """Wait until the engine has been given a batch."""
    give_up = time.monotonic() + 30
    while 'hdsynth_batch_closed_total{cause="idle",model="tiny"} 2.0' not in scrape(server):
        assert time.monotonic() < give_up
        time.sleep(0.005)


def scrape(server: Server) -> str:
    """Return the server's metrics."""
    return httpx.get(f"{server.metrics_url}/metrics").text


def test_failed_device_ends_the_server(tiny_bundle: Path, tmp_path: Path) -> None:
    """An error that outlives the engine ends the server with an error that names it."""
    with serving(tiny_bundle, tmp_path / "log") as server:
        assert ask(server, FATAL).status_code == 503
        assert server.process.wait(timeout=30) == 1
        assert "EngineFatalError" in server.log.read_text().splitlines()[-1]


def test_poison_and_crash_harm_one_caller_only(tiny_bundle: Path, tmp_path: Path) -> None:
    """A scene that fails, and one that takes the engine with it, leave the server serving."""
    with serving(tiny_bundle, tmp_path / "log") as server:
        before = ask(server)
        assert ask(server, POISON).json()["reason"] == "INTERNAL"
        assert ask(server).content == before.content
        assert ask(server, CRASH).json()["reason"] == "ENGINE_LOST"
        wait_until_ready(server)
        assert ask(server).content == before.content
        assert "hdsynth_engine_restarts_total" in scrape(server)


def test_overload_is_told_when_to_come_back(tiny_bundle: Path, tmp_path: Path) -> None:
    """Of more requests than the queue may hold, some are served and all others told when."""
    settings = {"backend": "fake:base_ms=100", "max_batch": 1, "max_wait_s": 0.3}
    with (
        serving(tiny_bundle, tmp_path / "log", result_cache_mb=0, **settings) as server,
        ThreadPoolExecutor(20) as callers,
    ):
        answers = list(callers.map(lambda _: ask(server), range(40)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["reason"] == "QUEUE_FULL"
            assert int(answer.headers["Retry-After"]) >= 1


def test_caller_who_leaves_costs_the_engine_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    """Requests whose connection closes while they wait are not run."""
    settings = {"backend": "fake:base_ms=500", "max_batch": 1, "result_cache_mb": 0}
    with serving(tiny_bundle, tmp_path / "log", **settings) as server:
        with ThreadPoolExecutor(8) as callers:

            def leave(_: int) -> None:
                try:
                    httpx.post(f"{server.url}/synthesize", files=files(), timeout=0.4)
                except httpx.ReadTimeout:
                    return

            list(callers.map(leave, range(8)))
        ask(server)
        shown = scrape(server)
        runs = [line for line in shown.splitlines() if line.startswith("hdsynth_batch_size_count")]
        assert float(runs[0].split()[-1]) <= 4  # one was running, one lay ready, and the last
        assert 'hdsynth_cancelled_total{phase="queue"}' in shown
