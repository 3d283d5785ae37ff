"""Servers that are simulated batch by batch, all at once with NumPy.

What they do is what the server does (``service.batching``, ``service.admission``): an engine that
is free takes what waits, up to its largest batch, and a request whose predicted wait is too long
is refused. Requests come at random (a Poisson process) and each goes to a server at random, as
a Service without affinity spreads them; so each server has a queue of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.batch_curve import BatchCurve
from service.batching import Limits

EDGES_S = np.geomspace(1e-4, 1e3, 561)
"""Bounds of the bins that latencies are counted in, each 3 % above the one before."""
LOOK_S, LOOK_RUNS = 0.2, 20
"""How much of a longer span is simulated exactly, at least; see ``Replicas.advance``."""
STEADY_LOAD = 0.85
"""Part of the largest throughput up to which queues stay short; above its inverse they fill."""


@dataclass
class Counts:
    """What happened in a span. Every request that arrived is served, shed, or still waits."""

    arrived: int = 0
    served: int = 0
    shed: int = 0
    runs: float = 0.0
    busy_s: float = 0.0
    latencies: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(EDGES_S) + 1))
    """Requests by latency, in the bins of ``EDGES_S``."""

    def add(self, other: Counts) -> None:
        """Add those of another span."""
        self.arrived += other.arrived
        self.served += other.served
        self.shed += other.shed
        self.runs += other.runs
        self.busy_s += other.busy_s
        self.latencies += other.latencies

    def quantile(self, part: float) -> float:
        """Return the latency in seconds within which ``part`` of the requests were served."""
        total = self.latencies.sum()
        if not total:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self.latencies), part * total))
        return float(EDGES_S[min(place, len(EDGES_S) - 1)])


class Replicas:
    """Servers with one engine each, and what waits at each of them."""

    def __init__(
        self,
        curve: BatchCurve,
        limits: Limits,
        pixels: int = 1,
        extra_s: float = 0.0,
        seed: int = 0,
    ) -> None:
        """``pixels`` is the size of an image, ``extra_s`` what a request takes besides engines."""
        self.curve, self.now = curve, 0.0
        self.batch = max(1, min(limits.max_batch, limits.max_batch_pixels // pixels))
        self._times = np.array([0.0, *(curve.seconds(n) for n in range(1, self.batch + 1))])
        self._look_s = max(LOOK_S, LOOK_RUNS * curve.seconds(1))
        most = max(1, min(limits.max_waiting, limits.max_waiting_pixels // pixels))
        self._room = self._room_by_run(limits.max_wait_s, most)
        self._ring = np.zeros((0, most + self.batch + 1))
        self._free_at = np.zeros(0)
        self._head = np.zeros(0, np.int64)
        self._waiting = np.zeros(0, np.int64)
        self._serving = np.zeros(0, bool)
        self._extra_s, self._random = extra_s, np.random.default_rng(seed)

    # ---- The fleet -------------------------------------------------------------------------

    @property
    def serving(self) -> int:
        """How many take requests."""
        return int(self._serving.sum())

    @property
    def alive(self) -> int:
        """How many there are, those included that only finish what waits."""
        return len(self._serving)

    @property
    def waiting(self) -> int:
        """How many requests wait, at all of them."""
        return int(self._waiting.sum())

    def add(self, count: int) -> None:
        """Let more servers take requests."""
        self._ring = np.pad(self._ring, ((0, count), (0, 0)))
        self._free_at = np.append(self._free_at, np.full(count, self.now))
        self._head, self._waiting = (np.pad(a, (0, count)) for a in (self._head, self._waiting))
        self._serving = np.append(self._serving, np.ones(count, bool))

    def drain(self, count: int) -> None:
        """Let some take no more requests; they go when they have finished."""
        self._serving[np.flatnonzero(self._serving)[-count:]] = False

    def predicted_waits(self) -> NDArray[np.float64]:
        """Return what each serving one would tell a request that comes now, in seconds."""
        whole, rest = np.divmod(self._waiting, self.batch)
        waits = np.maximum(0.0, self._free_at - self.now)
        waits += whole * self._times[-1] + self._times[rest]
        found: NDArray[np.float64] = waits[self._serving]
        return found

    # ---- Time ------------------------------------------------------------------------------

    def advance(self, seconds: float, rate: float) -> Counts:
        """Let time pass while ``rate`` requests come per second in all.

        Of a span in which all queues stay short, or all stay full, the beginning is simulated and
        the rest taken to go on in the same way; every other span is simulated from end to end.
        """
        counts = Counts()
        if rate and not self.serving:
            # Nobody is there to ask: the way in front of the servers refuses.
            counts.arrived = counts.shed = int(self._random.poisson(rate * seconds))
            rate = 0.0
        start, look = self.now, min(seconds, self._look_s)
        counts.add(self.simulate(look, rate))
        rest = start + seconds - self.now
        if rest > 0 and counts.served and self._is_steady(rate):
            counts.add(self._go_on(rest, rate, counts, look))
        elif rest > 0:
            counts.add(self.simulate(rest, rate))
        self._remove_finished()
        return counts

    def simulate(self, seconds: float, rate: float) -> Counts:
        """The same, all of it simulated."""
        until, counts = self.now + seconds, Counts()
        rates = np.where(self._serving, rate / max(1, self.serving), 0.0)
        while (rows := np.flatnonzero(self._free_at < until)).size:
            self._run_once(rows, rates[rows], until, counts)
        self.now = until
        return counts

    def _is_steady(self, rate: float) -> bool:
        """Whether every queue is short and stays so, or full and stays so."""
        full = self.curve.images_per_s(self.batch) * self.serving
        if rate <= STEADY_LOAD * full:
            return bool((self._waiting <= self.batch).all())
        room = self._room[-1] - 2 * self.batch
        return rate * STEADY_LOAD >= full and bool((self._waiting[self._serving] >= room).all())

    def _go_on(self, seconds: float, rate: float, seen: Counts, look: float) -> Counts:
        arrived = int(self._random.poisson(rate * seconds))
        served = round(arrived * seen.served / (seen.served + seen.shed))
        self.now += seconds
        self._free_at += seconds
        self._ring += seconds
        times = seconds / look
        return Counts(
            arrived=arrived,
            served=served,
            shed=arrived - served,
            runs=seen.runs * times,
            busy_s=seen.busy_s * times,
            latencies=seen.latencies * (served / seen.served),
        )

    def _run_once(
        self, rows: NDArray[np.int64], rates: NDArray[np.float64], until: float, counts: Counts
    ) -> None:
        """Let every server of ``rows`` run one batch; one without work waits for a request."""
        start, waiting = self._free_at[rows], self._waiting[rows]
        idle = waiting == 0
        with np.errstate(divide="ignore"):
            gaps = self._random.standard_exponential(idle.sum()) / rates[idle]
        start[idle] += gaps
        self._free_at[rows] = np.minimum(start, until)
        busy = start < until
        rows, rates, start, idle = rows[busy], rates[busy], start[busy], idle[busy]
        # The request that ends an idle time is the first of its run.
        came_first = rows[idle]
        self._ring[came_first, self._head[came_first]] = start[idle]
        self._waiting[came_first] = 1
        counts.arrived += len(came_first)

        images = np.minimum(self._waiting[rows], self.batch)
        duration = self._times[images]
        self._take(rows, images, start + duration, counts)
        self._arrive(rows, start, duration, rates, images, counts)
        self._free_at[rows] = start + duration
        counts.runs += len(rows)
        counts.busy_s += float(duration.sum())

    def _take(
        self,
        rows: NDArray[np.int64],
        images: NDArray[np.int64],
        finish: NDArray[np.float64],
        counts: Counts,
    ) -> None:
        """Take the first ``images`` of each queue, which are served at ``finish``."""
        owner, place = _ragged(images)
        head = self._head[rows]
        arrived = self._ring[rows[owner], (head[owner] + place) % self._ring.shape[1]]
        latency = finish[owner] - arrived + self._extra_s
        bins = np.searchsorted(EDGES_S, latency)
        counts.latencies += np.bincount(bins, minlength=len(EDGES_S) + 1)
        counts.served += len(owner)
        self._head[rows] = (head + images) % self._ring.shape[1]
        self._waiting[rows] -= images

    def _arrive(
        self,
        rows: NDArray[np.int64],
        start: NDArray[np.float64],
        duration: NDArray[np.float64],
        rates: NDArray[np.float64],
        images: NDArray[np.int64],
        counts: Counts,
    ) -> None:
        """Let requests come while the engines run; the first find room, the others are shed."""
        come = self._random.poisson(rates * duration)
        let_in = np.clip(self._room[images] - self._waiting[rows], 0, come)
        owner, place = _ragged(come)
        # In order of time within each server: the whole part sorts by server.
        moments = np.sort(owner + self._random.random(len(owner))) - owner
        inside = place < let_in[owner]
        owner, place, moments = owner[inside], place[inside], moments[inside]
        at = (self._head[rows] + self._waiting[rows])[owner] + place
        self._ring[rows[owner], at % self._ring.shape[1]] = start[owner] + moments * duration[owner]
        self._waiting[rows] += let_in
        counts.arrived += int(come.sum())
        counts.shed += int((come - let_in).sum())

    def _room_by_run(self, max_wait_s: float, most: int) -> NDArray[np.int64]:
        """Return how many may wait behind a run of 0, 1, 2, ... images."""
        whole, rest = np.divmod(np.arange(most + 1), self.batch)
        wait = whole * self._times[-1] + self._times[rest]
        # To be let in as the last of w + 1, w must wait, and their runs end in time.
        room = [
            np.searchsorted(wait, max_wait_s - self._times[n], "right")
            for n in range(len(self._times))
        ]
        return np.clip(np.array(room, np.int64), 0, most)

    def _remove_finished(self) -> None:
        stay = self._serving | (self._waiting > 0) | (self._free_at > self.now)
        if stay.all():
            return
        self._ring, self._free_at = self._ring[stay], self._free_at[stay]
        self._head, self._waiting = self._head[stay], self._waiting[stay]
        self._serving = self._serving[stay]


def _ragged(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and place in the row for all entries of rows of these lengths."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
