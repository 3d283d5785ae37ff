"""A fleet of servers under a load that changes: a discrete-event simulation with SimPy.

SimPy's processes are what happens rarely: the load changes, the autoscaler looks, a server has
started. Between two such moments ``service.replicas`` simulates all servers batch by batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from service.batch_curve import BatchCurve
from service.batching import Limits
from service.capacity import SHED_PART
from service.fleet_scaling import SYNC_S, Autoscaler, Scaling
from service.replicas import Counts, Replicas

Load = Callable[[float], float]
"""Seconds since the beginning -> requests per second."""
STEP_S = 5.0
"""Seconds for which the load is taken to stay the same."""
RECORD_S = 60.0
DAY_S = 86400.0
NIGHT_PART = 0.2
"""Of the day's peak, at its quietest."""
SPIKE_FROM_S, SPIKE_S, SPIKE_BASE = 1800.0, 600.0, 0.3
"""When the spike comes, how long it stays, and what part of it the load is at other times."""


def day(peak: float) -> Load:
    """A day: quiet at midnight, the peak at noon, a cosine between."""
    return lambda t: (
        peak * (NIGHT_PART + (1 - NIGHT_PART) * (1 - math.cos(2 * math.pi * t / DAY_S)) / 2)
    )


def spike(peak: float) -> Load:
    """A steady load that jumps to the peak for ten minutes, all at once."""
    return lambda t: peak * (1.0 if SPIKE_FROM_S <= t < SPIKE_FROM_S + SPIKE_S else SPIKE_BASE)


@dataclass(frozen=True)
class Scenario:
    """What is simulated."""

    name: str
    load: Load
    seconds: float
    curve: BatchCurve
    scaling: Scaling
    limits: Limits
    replicas: int
    """Servers at the beginning."""
    goal_s: float
    """Latency that 99 % of the requests should be within."""
    startup_s: float = 90.0
    """From the autoscaler's decision to the first request: node, image, engine, warm-up."""
    pixels: int = 1
    extra_s: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Minute:
    """One point of the curves."""

    at_s: float
    rate: float
    """Requests per second that came."""
    serving: int
    p99_s: float
    shed_part: float
    busy: float


@dataclass
class Outcome:
    """How a scenario went."""

    scenario: Scenario
    total: Counts = field(default_factory=Counts)
    minutes: list[Minute] = field(default_factory=list)
    replica_s: float = 0.0
    """Seconds of all servers that were paid for, those included that started or finished."""
    waiting: int = 0
    """Requests that still waited at the end."""

    @property
    def p99_s(self) -> float:
        """Latency that 99 % of the served requests were within."""
        return self.total.quantile(0.99)

    @property
    def shed_part(self) -> float:
        """Part of the requests that were refused."""
        return self.total.shed / max(1, self.total.arrived)

    @property
    def holds(self) -> bool:
        """Whether the goal was met over the whole time, with hardly a request refused."""
        return self.p99_s <= self.scenario.goal_s and self.shed_part <= SHED_PART

    @property
    def minutes_held(self) -> float:
        """Part of the minutes in which it was."""
        goal = self.scenario.goal_s
        good = sum(m.p99_s <= goal and m.shed_part <= SHED_PART for m in self.minutes)
        return good / max(1, len(self.minutes))

    @property
    def hours_per_million(self) -> float:
        """Server hours that a million images cost."""
        return self.replica_s / 3600 / max(1, self.total.served) * 1e6


class Fleet:
    """The moments at which something changes, as SimPy processes."""

    def __init__(self, scenario: Scenario) -> None:
        """Raises ImportError, naming the extra, where SimPy is not installed."""
        try:
            import simpy
        except ImportError as error:
            raise ImportError(
                "simulations need SimPy: pip install 'hdsynth[simulation]'"
            ) from error
        self.outcome, self._scenario = Outcome(scenario), scenario
        self._env: Any = simpy.Environment()
        self._servers = Replicas(
            scenario.curve, scenario.limits, scenario.pixels, scenario.extra_s, scenario.seed
        )
        self._servers.add(scenario.replicas)
        self._starting, self._given_up = 0, 0
        self._minute, self._since_look = Counts(), Counts()

    def run(self) -> Outcome:
        """Simulate from beginning to end."""
        self._env.process(self._let_time_pass())
        self._env.process(self._record())
        if self._scenario.scaling.kind != "off":
            self._env.process(self._scale(Autoscaler(self._scenario.scaling)))
        # The last steps end exactly then, and belong to it.
        self._env.run(until=self._scenario.seconds + 1e-6)
        self.outcome.waiting = self._servers.waiting
        return self.outcome

    def _let_time_pass(self) -> Generator[Any, None, None]:
        while True:
            yield self._env.timeout(STEP_S)
            self._catch_up()

    def _catch_up(self) -> None:
        """Bring the servers to the present moment."""
        servers = self._servers
        seconds = self._env.now - servers.now
        if seconds <= 0:
            return
        self.outcome.replica_s += seconds * (servers.alive + self._starting)
        counts = servers.advance(seconds, self._scenario.load(servers.now))
        for total in (self.outcome.total, self._minute, self._since_look):
            total.add(counts)

    def _record(self) -> Generator[Any, None, None]:
        while True:
            yield self._env.timeout(RECORD_S)
            self._catch_up()
            counts, self._minute = self._minute, Counts()
            serving = self._servers.serving
            self.outcome.minutes.append(
                Minute(
                    at_s=self._env.now,
                    rate=counts.arrived / RECORD_S,
                    serving=serving,
                    p99_s=counts.quantile(0.99),
                    shed_part=counts.shed / max(1, counts.arrived),
                    busy=counts.busy_s / (RECORD_S * max(1, serving)),
                )
            )

    def _scale(self, autoscaler: Autoscaler) -> Generator[Any, None, None]:
        waits, busy = np.zeros(self._servers.serving), 0.0
        while True:
            yield self._env.timeout(SYNC_S)
            self._catch_up()
            count = self._servers.serving + self._starting
            # It sees what Prometheus scraped last, not the present.
            wish = autoscaler.decide(self._env.now, count, waits, busy)
            serving = self._servers.serving
            waits = self._servers.predicted_waits()
            busy = self._since_look.busy_s / (SYNC_S * max(1, serving))
            self._since_look = Counts()
            for _ in range(wish - count):
                self._starting += 1
                self._env.process(self._start())
            if wish < count:
                # Those that have not started yet go first, as in Kubernetes.
                unstarted = min(count - wish, self._starting)
                self._starting -= unstarted
                self._given_up += unstarted
                if count - wish > unstarted:
                    self._servers.drain(count - wish - unstarted)

    def _start(self) -> Generator[Any, None, None]:
        yield self._env.timeout(self._scenario.startup_s)
        if self._given_up:
            self._given_up -= 1
            return
        self._catch_up()
        self._starting -= 1
        self._servers.add(1)
