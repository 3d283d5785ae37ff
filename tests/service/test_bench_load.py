from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from service.bench_load import (
    Answer,
    GrpcTarget,
    HttpTarget,
    Load,
    Sample,
    closed_loop,
    multipart,
    open_loop,
    poisson_times,
    trace_times,
)
from service.bench_serve import Endpoint, Work, measure, run_load, summarise
from service.bench_serve_report import markdown, write_report
from tests.service.conftest import Server


class Slow:
    """A target that takes one request at a time, 20 ms each."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def send(self, number: int) -> Answer:  # noqa: ARG002
        """Wait for the turn."""
        async with self._lock:
            await asyncio.sleep(0.02)
        return Answer("served", "200")


def test_open_loop_counts_the_wait_that_a_stall_causes() -> None:
    """Requests that are due while the server is busy start on time, and their wait counts."""
    load = asyncio.run(open_loop(Slow(), [0.0] * 10))
    latencies = sorted(sample.latency_s for sample in load.samples)
    assert len(latencies) == 10
    assert latencies[-1] >= 0.2
    assert latencies[-1] >= 5 * latencies[0]


def test_closed_loop_keeps_so_many_callers() -> None:
    """Each caller asks again when it has been answered, and not before."""
    at_once = Counter[str]()

    class Counting:
        async def send(self, number: int) -> Answer:  # noqa: ARG002
            at_once["now"] += 1
            at_once["most"] = max(at_once["most"], at_once["now"])
            await asyncio.sleep(0.001)
            at_once["now"] -= 1
            return Answer("served", "200")

    load = asyncio.run(closed_loop(Counting(), 3, 0.1))
    assert at_once["most"] == 3
    assert len(load.samples) > 3


def test_independent_callers_come_at_the_rate() -> None:
    """Gaps are exponential: their spread is their mean; a seed always gives the same times."""
    times = poisson_times(200, 50, seed=3)
    assert times == poisson_times(200, 50, seed=3) != poisson_times(200, 50, seed=4)
    gaps = np.diff(times)
    assert len(times) == pytest.approx(10_000, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.1)


def test_trace_starts_at_zero(tmp_path: Path) -> None:
    """Times of a log are shifted; what is none is named with its line."""
    (tmp_path / "trace").write_text("100.5,GET\n\n100.0\n103\n")
    assert trace_times(tmp_path / "trace") == [0.0, 0.5, 3.0]
    (tmp_path / "trace").write_text("1\nnoon\n")
    with pytest.raises(ValueError, match=":2: 'noon'"):
        trace_times(tmp_path / "trace")
    (tmp_path / "trace").write_text("\n")
    with pytest.raises(ValueError, match="no times"):
        trace_times(tmp_path / "trace")


@pytest.mark.parametrize("face", ["rest", "grpc"])
def test_real_server_is_loaded(server: Server, face: str) -> None:
    """All requests of a run are served, over either face."""
    endpoint = Endpoint("ours", f"{server.url}/v1/synthesize")
    if face == "grpc":
        endpoint = Endpoint("ours", grpc=server.grpc_address)
    work = Work((64, 64), times=(0.0, 0.01, 0.02, 0.03))
    result = summarise("ours", work, [asyncio.run(run_load(endpoint, work))])
    assert (result.sent, result.served, result.failed) == (4, 4, 0)
    assert result.latency_ms["p50"] > 0


def test_maps_as_plain_numbers(server: Server) -> None:
    """Over gRPC maps may travel as game engines send them, and the server's time is counted."""
    endpoint = Endpoint("ours", grpc=server.grpc_address, pid=server.process.pid, raw=True)
    work = Work((64, 64), 0.5, clients=2)
    (result,) = measure([lambda: nullcontext(endpoint)], [work])
    assert result.served == result.sent > 0
    assert result.cpu_ms > 0


def test_refused_and_broken_requests_are_told_apart(server: Server) -> None:
    """What the server does not like is a failure with its code, and so is no server."""

    async def send(make: Callable[[], HttpTarget | GrpcTarget]) -> Answer:
        target = make()
        answer = await target.send(0)
        await target.close()
        return answer

    body, kind = multipart({"label": b"no image"}, {})
    url = f"{server.url}/v1/synthesize"
    cases: list[tuple[Callable[[], HttpTarget | GrpcTarget], str]] = [
        (lambda: HttpTarget(url, [body], kind), "422"),
        (lambda: GrpcTarget(server.grpc_address, [b""]), "INVALID_ARGUMENT"),
        (lambda: HttpTarget("http://127.0.0.1:9/", [body], kind), "ConnectionRefusedError"),
    ]
    for make, code in cases:
        assert asyncio.run(send(make)) == Answer("failed", code)


def test_report(tmp_path: Path) -> None:
    """The table, the plot and the JSON tell shares and percentiles."""
    samples = [Sample(0, 0, ms / 1000, Answer("served", "200")) for ms in range(1, 101)]
    samples += [Sample(0, 0.001, 0.005, Answer("shed", "429", names_return=True))] * 3
    samples += [Sample(0, 0.001, 0.005, Answer("shed", "429"))]
    result = summarise("ours", Work(clients=4), [Load(samples, 2.0, 0.5)])
    assert (result.goodput, result.shed, result.shed_with_return) == (50.0, 4, 0.75)
    assert result.latency_ms["p99"] == pytest.approx(99.01)
    row = markdown("Load", "About.", [result]).splitlines()[-1]
    assert row.startswith("| 4 clients | ours | 50.0 | 50.5 | 90.1 | 99.0 |")
    assert "| 75 % | 5.0 | 0 |" in row
    write_report(tmp_path / "load.md", "Load", "About.", [result])
    assert {path.suffix for path in tmp_path.iterdir()} == {".md", ".json", ".svg"}
