from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batch_time import BatchTime
from service.batching import Batch, BatchQueue, Entry, Limits
from service.jobs import Lane

PIXELS = {"small": 1_000, "large": 4_000}
LANES = st.sampled_from(list(Lane))
BUCKETS = st.sampled_from(list(PIXELS))


def entry(
    number: int,
    bucket: str = "small",
    lane: Lane = Lane.INTERACTIVE,
    since: float = 0.0,
    deadline: float | None = None,
) -> Entry[int]:
    """Make an entry that carries its number."""
    return Entry(bucket, PIXELS[bucket], lane, since, number, deadline)


def filled(entries: Iterator[Entry[int]], limits: Limits | None = None) -> BatchQueue[int]:
    """Make a queue in which entries wait."""
    queue: BatchQueue[int] = BatchQueue(limits)
    for waiting in entries:
        queue.put(waiting)
    return queue


def batches(queue: BatchQueue[int], now: float = 0.0) -> Iterator[Batch[int]]:
    """Take batches until nothing waits."""
    while (batch := queue.next_batch(now)[0]) is not None:
        yield batch


def numbers(batch: Batch[int] | None) -> list[int]:
    """Return what the entries of a batch carry."""
    assert batch is not None
    return [waiting.payload for waiting in batch.entries]


@given(
    st.lists(st.tuples(LANES, BUCKETS, st.sampled_from(["wait", "leave", "expire", "replace"]))),
    st.integers(1, 9),
    st.integers(1_000, 20_000),
    st.integers(1, 20),
)
def test_every_entry_comes_out_once_and_in_order(
    wishes: list[tuple[Lane, str, str]], max_batch: int, max_pixels: int, every: int
) -> None:
    """Whatever waits, leaves, expires or is replaced: none is lost, doubled or overtaken."""
    queue: BatchQueue[int] = BatchQueue(Limits(max_batch, max_pixels))
    taken: list[Batch[int]] = []
    expired: list[Entry[int]] = []
    wanted: Counter[str] = Counter()
    for number, (lane, bucket, fate) in enumerate(wishes):
        waiting = entry(number, bucket, lane, deadline=1.0 if fate == "expire" else None)
        queue.put(waiting)
        if fate == "leave":
            assert queue.remove(waiting)
            assert not queue.remove(waiting)
        elif fate == "replace":
            queue.replace(waiting, entry(number, bucket, lane))
        wanted[fate] += 1
        if number % every == 0:
            batch, late = queue.next_batch(2.0)
            taken += [batch] if batch else []
            expired += late
    while queue.waiting:
        batch, late = queue.next_batch(2.0)
        taken += [batch] if batch else []
        expired += late
    assert (queue.waiting, queue.waiting_pixels) == (0, 0)
    assert len(expired) == wanted["expire"]
    out = [waiting for batch in taken for waiting in batch.entries]
    assert (
        len({waiting.payload for waiting in out}) == len(out) == wanted["wait"] + wanted["replace"]
    )
    for lane in Lane:
        for bucket in PIXELS:
            flow = [w.payload for w in out if (w.lane, w.bucket) == (lane, bucket)]
            assert flow == sorted(flow)
    for batch in taken:
        assert {waiting.bucket for waiting in batch.entries} == {batch.bucket}
        assert len(batch.entries) <= max_batch
        assert batch.pixels <= max_pixels or len(batch.entries) == 1


@given(
    st.lists(st.tuples(LANES, BUCKETS), min_size=1, max_size=30),
    st.lists(st.tuples(LANES, BUCKETS), min_size=1, max_size=4, unique=True),
)
def test_nobody_starves(earlier: list[tuple[Lane, str]], rivals: list[tuple[Lane, str]]) -> None:
    """An entry is taken within a bounded number of batches, whoever keeps coming beside it."""
    queue = filled(entry(n, bucket, lane) for n, (lane, bucket) in enumerate(earlier))
    queue.put(entry(-1, "large", Lane.BULK))
    for turn in range(200):
        for lane, bucket in rivals:
            for _ in range(8):
                queue.put(entry(turn, bucket, lane))
        batch, _ = queue.next_batch(0.0)
        if batch and -1 in numbers(batch):
            return
    pytest.fail("200 batches went by")


def test_lanes_share_by_weight() -> None:
    """While all lanes have work, four interactive or streamed images go with one of bulk."""
    limits = Limits(max_batch=1)
    queue = filled((entry(n, lane=lane) for lane in Lane for n in range(90)), limits)
    served = Counter(next(batches(queue)).entries[0].lane for _ in range(90))
    assert served == {Lane.INTERACTIVE: 40, Lane.STREAM: 40, Lane.BULK: 10}


def test_idle_lane_saves_nothing_up() -> None:
    """A lane that was empty for long is served at once when it fills, and then by its weight."""
    queue = filled((entry(n, lane=Lane.BULK) for n in range(60)), Limits(max_batch=1))
    for _ in range(40):
        queue.next_batch(0.0)
    for number in range(20):
        queue.put(entry(number, lane=Lane.INTERACTIVE))
    lanes = [next(batches(queue)).entries[0].lane for _ in range(20)]
    assert lanes[0] is Lane.INTERACTIVE
    assert Counter(lanes) == {Lane.INTERACTIVE: 17, Lane.BULK: 3}


def test_buckets_share_pixels() -> None:
    """Two sizes get the same number of pixels, not of images."""
    both = (entry(n, bucket) for bucket in PIXELS for n in range(40))
    queue = filled(both, Limits(max_batch=1))
    served = Counter(next(batches(queue)).bucket for _ in range(40))
    assert served["small"] == 4 * served["large"]


def test_interleaved_sizes_fill_batches() -> None:
    """A, B, A, B, ... makes batches as full as one size alone does."""
    mixed = filled(entry(n, ("small", "large")[n % 2]) for n in range(64))
    alone = filled(entry(n) for n in range(64))
    assert [len(b.entries) for b in batches(mixed)] == [len(b.entries) for b in batches(alone)]


def test_lanes_ride_together() -> None:
    """What room a batch has left goes to the other lanes of its bucket."""
    queue = filled(
        entry(n, lane=lane) for n, lane in enumerate([Lane.BULK, Lane.STREAM, Lane.INTERACTIVE])
    )
    assert numbers(queue.next_batch(0.0)[0]) == [2, 1, 0]


def test_replacement_keeps_the_place() -> None:
    """A newer frame takes the place of the one that it makes useless."""
    first, second = entry(1), entry(2)
    queue = filled(iter([first, second]))
    queue.replace(first, entry(3))
    assert not queue.remove(first)
    assert numbers(queue.next_batch(0.0)[0]) == [3, 2]


def test_replacement_of_another_size_goes_to_the_end() -> None:
    """A frame whose size has changed waits behind those of its new size."""
    first, second = entry(1), entry(2, "large")
    queue = filled(iter([first, second]))
    queue.replace(first, entry(3, "large"))
    assert queue.waiting == 2
    assert numbers(queue.next_batch(0.0)[0]) == [2, 3]


def test_who_has_left_takes_no_room() -> None:
    """An entry whose caller left between two steps is dropped, and the batch filled up."""
    queue = filled(entry(n) for n in range(3))
    gone = entry(9)
    gone.has_left = lambda: True
    queue.put(gone)
    batch, expired = queue.next_batch(0.0)
    assert numbers(batch) == [0, 1, 2]
    assert expired == []


def test_busy_engine_waits_for_full_batches() -> None:
    """With ``full_only`` nothing is taken that could still grow."""
    queue = filled(entry(n) for n in range(7))
    assert queue.next_batch(0.0, full_only=True) == (None, [])
    queue.put(entry(7, lane=Lane.BULK))
    batch, _ = queue.next_batch(0.0, full_only=True)
    assert numbers(batch) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert batch is not None
    assert batch.cause == "full"


def test_batch_waits_at_most_the_maximum_delay() -> None:
    """An idle engine waits for more until the oldest entry's time is over."""
    queue = filled(iter([entry(0, since=5.0)]), Limits(max_delay_s=0.01))
    assert queue.next_batch(5.009)[0] is None
    assert queue.next_due() == pytest.approx(5.01)
    batch, _ = queue.next_batch(5.01)
    assert batch is not None
    assert batch.cause == "delay"
    assert queue.next_due() is None


def test_memory_of_the_engine_limits_batches() -> None:
    """A bucket that did not fit into the engine's memory runs in smaller batches from then on."""
    queue = filled(entry(n) for n in range(8))
    queue.lower_cap("small", 3)
    assert [len(batch.entries) for batch in batches(queue)] == [3, 3, 2]


def test_time_of_a_batch_is_learnt() -> None:
    """A line through the runs predicts sizes that have not run, per bucket."""
    times = BatchTime()
    assert times.predict("small", 1_000) == 0
    for images in (1, 2, 4):
        times.observe("small", images * 1_000, 0.010 + images * 0.005)
    assert times.predict("small", 8_000) == pytest.approx(0.050)
    assert times.predict("large", 8_000) == pytest.approx(0.050)
    times.observe("large", 4_000, 0.1)
    assert times.predict("large", 8_000) == pytest.approx(0.2)


@given(st.lists(st.tuples(st.integers(1, 10**8), st.floats(1e-6, 100)), min_size=1, max_size=80))
def test_prediction_is_never_negative(runs: list[tuple[int, float]]) -> None:
    """However the times scatter, more pixels never take less time, and none takes less than 0."""
    times = BatchTime()
    for pixels, seconds in runs:
        times.observe("b", pixels, seconds)
    predictions = [times.predict("b", pixels) for pixels in (0, 1, 10**4, 10**8)]
    assert predictions == sorted(predictions)
    assert predictions[0] >= 0
