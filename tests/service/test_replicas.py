"""Simulated servers: nothing is lost, and queues are as long as theory says."""

from __future__ import annotations

import numpy as np
import pytest

from service.batch_curve import BatchCurve
from service.batching import Limits
from service.replicas import EDGES_S, Counts, Replicas

ENDLESS = Limits(max_batch=1, max_wait_s=1e9, max_waiting=1000, max_waiting_pixels=1 << 40)


def fleet(curve: BatchCurve, count: int, limits: Limits, **options: float) -> Replicas:
    """Servers that have forgotten how they started."""
    made = Replicas(curve, limits, seed=3, **options)  # type: ignore[arg-type]
    made.add(count)
    return made


def mean(counts: Counts) -> float:
    """Mean latency in seconds, to the width of a bin."""
    middles = np.sqrt(EDGES_S[1:] * EDGES_S[:-1])
    return float((counts.latencies[1:-1] * middles).sum() / counts.served)


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.8])
def test_one_at_a_time_waits_as_pollaczek_and_khinchine_say(busy: float) -> None:
    """Random arrivals, equal service times s: the mean latency is s + s * b / (2 (1 - b))."""
    service_s = 0.01
    servers = fleet(BatchCurve(service_s), 100, ENDLESS)
    servers.simulate(5, 100 * busy / service_s)
    counts = servers.simulate(10, 100 * busy / service_s)
    wanted = service_s * (1 + busy / (2 * (1 - busy)))
    assert mean(counts) == pytest.approx(wanted, rel=0.03)
    assert counts.busy_s / (100 * 10) == pytest.approx(busy, rel=0.02)


@pytest.mark.parametrize("load", [0.2, 0.8, 1.0, 3.0])
@pytest.mark.parametrize("exact", [True, False])
def test_every_request_is_served_or_shed_or_waits(load: float, exact: bool) -> None:
    """At any load, simulated from end to end or in part."""
    curve = BatchCurve(0.005, 0.01)
    servers = fleet(curve, 10, Limits(max_wait_s=0.5))
    rate = load * 10 * curve.images_per_s(8)
    total = Counts()
    for _ in range(6):
        total.add((servers.simulate if exact else servers.advance)(5, rate))
    assert total.arrived == pytest.approx(30 * rate, rel=0.1)
    assert total.arrived == total.served + total.shed + servers.waiting
    assert total.latencies.sum() == pytest.approx(total.served)
    assert (total.shed > 0) == (load >= 1)


@pytest.mark.parametrize("load", [0.5, 2.0])
def test_the_part_tells_of_the_whole(load: float) -> None:
    """Simulating the beginning of each span finds what simulating all of it finds."""
    curve = BatchCurve(0.005, 0.01)
    rate = load * 20 * curve.images_per_s(8)
    found = []
    for exact in (True, False):
        servers = fleet(curve, 20, Limits(max_wait_s=0.5))
        servers.simulate(3, rate)
        total = Counts()
        for _ in range(4):
            total.add((servers.simulate if exact else servers.advance)(5, rate))
        found.append((mean(total), total.busy_s, total.served / total.runs, total.shed))
    assert found[0] == pytest.approx(found[1], rel=0.05)


def test_an_overloaded_server_keeps_its_promise() -> None:
    """Who is let in waits no longer than the longest wait and two runs, at full throughput."""
    curve = BatchCurve(0.01, 0.02)
    servers = fleet(curve, 10, Limits(max_batch=4, max_wait_s=1.0))
    rate = 30 * curve.images_per_s(4)
    servers.simulate(5, rate)
    counts = servers.simulate(10, rate)
    assert counts.quantile(1.0) <= 1.05 * (1.0 + 2 * curve.seconds(4))
    assert counts.quantile(0.5) >= 0.8
    assert counts.served / 10 == pytest.approx(10 * curve.images_per_s(4), rel=0.02)


def test_large_images_fill_the_queue_before_its_time() -> None:
    """The limit in pixels bounds the wait of large images, long before the longest wait."""
    servers = fleet(BatchCurve(0.006), 4, Limits(), pixels=2048 * 1024)
    servers.simulate(3, 4000)
    assert servers.predicted_waits().max() <= 72 * 0.006
    assert servers.simulate(1, 4000).shed > 0


def test_drained_servers_finish_and_go() -> None:
    """They take nothing new, and what waits at them is served."""
    servers = fleet(BatchCurve(0.01), 4, Limits(max_batch=4))
    total = servers.simulate(2, 800)
    servers.drain(3)
    assert (servers.serving, servers.alive) == (1, 4)
    for _ in range(30):
        total.add(servers.advance(1, 0.0))
    assert (servers.alive, servers.waiting) == (1, 0)
    assert total.arrived == total.served + total.shed
    servers.drain(1)
    assert servers.advance(5, 10).shed > 0
