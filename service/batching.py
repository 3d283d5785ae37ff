"""What waits and what the engine gets next: buckets, lanes and deadlines.

Pure bookkeeping that knows neither engines nor an event loop; times are passed in. Entries wait
in flows, one per lane and bucket, first in first out. A batch holds entries of one bucket: the
lane whose turn it is chooses the bucket, and what room is left goes to the other lanes, so that
streams and single requests share a run of the engine.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from service.batch_time import MAX_BUCKETS, BatchTime
from service.fair_share import FairShare
from service.jobs import Lane

T = TypeVar("T")
Flow = tuple[Lane, Hashable]
"""A lane and a bucket."""

WEIGHTS = {Lane.INTERACTIVE: 4.0, Lane.STREAM: 4.0, Lane.BULK: 1.0}
"""Shares of the engine when all lanes wait. Of lanes that are even, the first is served first."""


@dataclass(frozen=True)
class Limits:
    """How much runs at once and how much may wait."""

    max_batch: int = 8
    """Most images of one batch."""
    max_batch_pixels: int = 16 << 20
    """Most pixels of one batch; a single image may have more."""
    max_delay_s: float = 0.0
    """Seconds that an idle engine waits for a fuller batch."""
    max_wait_s: float = 10.0
    """Predicted wait in seconds from which work is refused."""
    max_waiting: int = 1024
    """Most images that wait, whatever the prediction says."""
    max_waiting_pixels: int = 128 << 20
    """The same in pixels, which is what memory depends on."""


@dataclass(eq=False)
class Entry(Generic[T]):
    """One image that waits."""

    bucket: Hashable
    """What entries of one batch have in common: size and form."""
    pixels: int
    lane: Lane
    since: float
    """When it began to wait, in seconds of the caller's clock."""
    payload: T
    deadline: float | None = None
    has_left: Callable[[], bool] = lambda: False
    """Whether nobody waits for the result any more."""
    ticket: int | None = field(default=None, init=False)
    """Its place in the flow; None = it does not wait (any more)."""


@dataclass(frozen=True)
class Batch(Generic[T]):
    """What the engine gets at once."""

    bucket: Hashable
    entries: list[Entry[T]]
    cause: Literal["full", "idle", "delay"]
    """Why it holds no more: it is full, the engine was idle, or the maximum delay was over."""

    @property
    def pixels(self) -> int:
        """Pixels of all its images."""
        return sum(entry.pixels for entry in self.entries)


class BatchQueue(Generic[T]):
    """All entries that wait for one model, whichever of its engines takes them."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits, self.times = limits or Limits(), BatchTime()
        self._tickets = itertools.count()
        self._flows: dict[Flow, OrderedDict[int, Entry[T]]] = {}
        self._lane_share: FairShare[Lane] = FairShare(WEIGHTS.__getitem__)
        # One per lane: lanes of different weight do not advance together.
        self._bucket_share: dict[Lane, FairShare[Hashable]] = {lane: FairShare() for lane in Lane}
        self._caps: OrderedDict[Hashable, int] = OrderedDict()
        self.waiting, self.waiting_pixels = 0, 0

    # ---- In and out ------------------------------------------------------------------------

    def put(self, entry: Entry[T]) -> None:
        """Let an entry wait at the end of its flow."""
        flow = (entry.lane, entry.bucket)
        if flow not in self._flows:
            if not any(lane == entry.lane for lane, _ in self._flows):
                self._lane_share.join(entry.lane)
            self._flows[flow] = OrderedDict()
            self._bucket_share[entry.lane].join(entry.bucket)
        entry.ticket = next(self._tickets)
        self._flows[flow][entry.ticket] = entry
        self._count(entry, 1)

    def replace(self, old: Entry[T], new: Entry[T]) -> None:
        """Let an entry wait in the place of one of the same lane that waits.

        An entry of another bucket has no place there and goes to the end of its own flow.
        """
        if old.ticket is None or (old.lane, old.bucket) != (new.lane, new.bucket):
            self.remove(old)
            self.put(new)
            return
        new.ticket, old.ticket = old.ticket, None
        self._flows[new.lane, new.bucket][new.ticket] = new
        self._count(old, -1)
        self._count(new, 1)

    def remove(self, entry: Entry[T]) -> bool:
        """Take an entry out; returns whether it was still waiting."""
        if entry.ticket is None:
            return False
        del self._flows[entry.lane, entry.bucket][entry.ticket]
        entry.ticket = None
        self._count(entry, -1)
        self._close_if_empty((entry.lane, entry.bucket))
        return True

    def clear(self) -> list[Entry[T]]:
        """Take all entries out and return them."""
        entries = [entry for flow in self._flows.values() for entry in flow.values()]
        for entry in entries:
            self.remove(entry)
        return entries

    # ---- Batches ---------------------------------------------------------------------------

    def next_batch(
        self, now: float, full_only: bool = False
    ) -> tuple[Batch[T] | None, list[Entry[T]]]:
        """Take the next batch out, None if there is none yet; and the entries that expired.

        Entries whose caller has left are dropped without a word. With ``full_only`` only a batch
        that could not grow is taken, for engines that are still busy.
        """
        expired: list[Entry[T]] = []
        while flows := [flow for flow in self._flows if self._is_due(flow[1], now, full_only)]:
            lane = self._lane_share.pick(sorted({lane for lane, _ in flows}, key=_PRIORITY))
            bucket = self._bucket_share[lane].pick(b for other, b in flows if other == lane)
            entries = self._take(lane, bucket, now, expired)
            if entries:
                return Batch(bucket, entries, self._cause(bucket, entries)), expired
        return None, expired

    def next_due(self) -> float | None:
        """Return when the first batch that waits to grow is taken as it is; None if none does."""
        starts = [next(iter(flow.values())).since for flow in self._flows.values()]
        return min(starts) + self.limits.max_delay_s if starts else None

    def cap(self, bucket: Hashable, pixels: int) -> int:
        """Return how many images of a bucket, of ``pixels`` pixels each, may run at once."""
        by_pixels = max(1, self.limits.max_batch_pixels // pixels)
        return min(self.limits.max_batch, by_pixels, self._caps.get(bucket, by_pixels))

    def lower_cap(self, bucket: Hashable, images: int) -> None:
        """Remember that the engine's memory holds no more images of a bucket."""
        self._caps[bucket] = max(1, images)
        if len(self._caps) > MAX_BUCKETS:
            self._caps.popitem(last=False)

    # ---- What waits ------------------------------------------------------------------------

    def seconds(self, bucket: Hashable, images: int) -> float:
        """Return the predicted seconds of the batches that images of a bucket make."""
        pixels = self._first(bucket).pixels
        whole, rest = divmod(images, cap := self.cap(bucket, pixels))
        seconds = whole * self.times.predict(bucket, cap * pixels)
        return seconds + (self.times.predict(bucket, rest * pixels) if rest else 0.0)

    def depths(self) -> dict[Flow, int]:
        """Return how many entries wait, by lane and bucket."""
        return {flow: len(entries) for flow, entries in self._flows.items()}

    def oldest_since(self) -> float | None:
        """Return when the entry that has waited longest began to; None if nothing waits."""
        return min((next(iter(f.values())).since for f in self._flows.values()), default=None)

    # ---- Inside ----------------------------------------------------------------------------

    def _is_due(self, bucket: Hashable, now: float, full_only: bool) -> bool:
        first = self._first(bucket)
        if self._count_in(bucket) >= self.cap(bucket, first.pixels):
            return True
        return not full_only and now >= first.since + self.limits.max_delay_s

    def _take(
        self, lane: Lane, bucket: Hashable, now: float, expired: list[Entry[T]]
    ) -> list[Entry[T]]:
        """Take a batch of one bucket, first from the lane, then from the others by their turn."""
        cap = self.cap(bucket, self._first(bucket).pixels)
        others = [other for other in Lane if other != lane and (other, bucket) in self._flows]
        taken: list[Entry[T]] = []
        for turn in (lane, *self._lane_share.ranked(others)):
            flow = self._flows[turn, bucket]
            pixels = 0
            while flow and len(taken) < cap:
                _, entry = flow.popitem(last=False)
                entry.ticket = None
                self._count(entry, -1)
                if entry.has_left():
                    continue
                if entry.deadline is not None and entry.deadline <= now:
                    expired.append(entry)
                    continue
                taken.append(entry)
                pixels += entry.pixels
            self._lane_share.charge(turn, pixels)
            self._bucket_share[turn].charge(bucket, pixels)
            self._close_if_empty((turn, bucket))
        return taken

    def _cause(self, bucket: Hashable, entries: list[Entry[T]]) -> Literal["full", "idle", "delay"]:
        if len(entries) >= self.cap(bucket, entries[0].pixels):
            return "full"
        return "delay" if self.limits.max_delay_s else "idle"

    def _count(self, entry: Entry[T], by: int) -> None:
        self.waiting += by
        self.waiting_pixels += by * entry.pixels

    def _in_bucket(self, bucket: Hashable) -> Iterator[OrderedDict[int, Entry[T]]]:
        return (flow for lane in Lane if (flow := self._flows.get((lane, bucket))))

    def _count_in(self, bucket: Hashable) -> int:
        return sum(map(len, self._in_bucket(bucket)))

    def _first(self, bucket: Hashable) -> Entry[T]:
        heads = (next(iter(flow.values())) for flow in self._in_bucket(bucket))
        return min(heads, key=lambda entry: entry.since)

    def _close_if_empty(self, flow: Flow) -> None:
        if self._flows[flow]:
            return
        del self._flows[flow]
        self._bucket_share[flow[0]].leave(flow[1])
        if not any(lane == flow[0] for lane, _ in self._flows):
            self._lane_share.leave(flow[0])


_PRIORITY = list(WEIGHTS).index
