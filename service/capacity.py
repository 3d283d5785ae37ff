"""How many servers a load needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from service.batch_curve import BatchCurve
from service.batching import Limits
from service.replicas import Counts, Replicas

SHED_PART = 0.001
"""Part of the requests that may be refused, where a load is said to be carried."""
_QUEUES = 64
"""Servers that are simulated side by side to learn about one."""
_REQUESTS = 800
"""Requests of each of them."""
_STEPS = 14


@dataclass(frozen=True)
class Need:
    """Servers for a load, and what each of them then does."""

    replicas: int
    rate_each: float
    """Requests per second of one server."""
    most_each: float
    """The same at which the goal is just met."""
    batch: float
    """Images of a run, on average."""
    busy: float
    """Part of the time in which the engine runs, 0..1."""
    median_s: float
    p99_s: float
    """Latency of the slowest of a hundred requests."""

    def hours_per_million(self) -> float:
        """Return the server hours that a million images cost at this load."""
        return 1e6 / self.rate_each / 3600


def need(
    curve: BatchCurve,
    rate: float,
    goal_s: float,
    limits: Limits | None = None,
    pixels: int = 1,
    extra_s: float = 0.0,
) -> Need:
    """Find the fewest servers that serve 99 % of ``rate`` requests per second within ``goal_s``.

    Each server is a queue of its own at which requests come at random. Raises ValueError for a
    goal that no number of servers can meet.
    """
    limits = limits or Limits()
    alone = curve.seconds(1) + extra_s
    if goal_s <= alone:
        raise ValueError(
            f"a goal of {goal_s:g} s cannot be met: an image that waits for nothing takes "
            f"{alone:.3g} s"
        )

    def try_rate(each: float) -> tuple[Counts, float]:
        return _one_server(curve, each, limits, pixels, extra_s)

    low, high = 0.0, curve.images_per_s(limits.max_batch)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        counts, _ = try_rate(middle)
        held = counts.quantile(0.99) <= goal_s and counts.shed <= SHED_PART * counts.arrived
        low, high = (middle, high) if held else (low, middle)
    if not low:
        raise ValueError(f"a goal of {goal_s:g} s is too near to the {alone:.3g} s of one image")
    replicas = math.ceil(rate / low)
    counts, seconds = try_rate(rate / replicas)
    while counts.quantile(0.99) > goal_s:  # near the limit, chance decides
        replicas += 1
        counts, seconds = try_rate(rate / replicas)
    return Need(
        replicas=replicas,
        rate_each=rate / replicas,
        most_each=low,
        batch=counts.served / counts.runs,
        busy=counts.busy_s / seconds,
        median_s=counts.quantile(0.5),
        p99_s=counts.quantile(0.99),
    )


def _one_server(
    curve: BatchCurve, rate: float, limits: Limits, pixels: int, extra_s: float
) -> tuple[Counts, float]:
    """Simulate one server under a steady load; returns what it did, and in how many seconds."""
    fleet = Replicas(curve, limits, pixels, extra_s)
    fleet.add(_QUEUES)
    seconds = _REQUESTS / rate
    fleet.simulate(seconds, rate * _QUEUES)  # to forget the empty start
    return fleet.simulate(seconds, rate * _QUEUES), seconds * _QUEUES
