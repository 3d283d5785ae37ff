from __future__ import annotations

import pytest

from service.admission import Admission
from service.batching import BatchQueue, Entry, Limits
from service.jobs import Lane


def filled(waiting: int, limits: Limits, lane: Lane = Lane.INTERACTIVE) -> BatchQueue[int]:
    """Make a queue in which entries of 1,000 pixels wait in one lane."""
    queue: BatchQueue[int] = BatchQueue(limits)
    for number in range(waiting):
        queue.put(Entry("small", 1_000, lane, 0.0, number))
    return queue


def learnt(waiting: int, limits: Limits, lane: Lane = Lane.INTERACTIVE) -> Admission:
    """Stand before a queue of entries whose batches of 8 take 0.1 s."""
    queue = filled(waiting, limits, lane)
    for _ in range(3):
        queue.times.observe("small", 8_000, 0.1)
    return Admission(queue, jitter=lambda: 0.5)


def test_queue_is_bounded_by_its_predicted_wait() -> None:
    """Work is let in until the wait would be too long; the refusal says when to come back."""
    limits = Limits(max_wait_s=1.0)
    assert learnt(72, limits).refusal(Lane.INTERACTIVE, 0.0) is None
    refusal = learnt(88, limits).refusal(Lane.INTERACTIVE, 0.0)
    assert refusal is not None
    assert refusal.reason == "QUEUE_FULL"
    assert refusal.wait_s == pytest.approx(1.1)
    assert refusal.retry_after_s == pytest.approx(1.1 * 1.25)
    assert learnt(88, limits).refusal(Lane.INTERACTIVE, 0.0, engines=2) is None
    assert learnt(0, limits).refusal(Lane.INTERACTIVE, 0.0, busy_s=1.2) is not None
    assert learnt(0, limits).refusal(Lane.INTERACTIVE, 0.0, ahead=88) is not None


def test_queue_is_bounded_before_anything_is_known() -> None:
    """Without a single run to judge by, numbers and pixels bound what waits."""
    for limits in (Limits(max_waiting=4), Limits(max_waiting_pixels=4_000)):
        queue = filled(4, limits)
        refusal = Admission(queue).refusal(Lane.INTERACTIVE, 0.0)
        assert refusal is not None
        assert refusal.reason == "QUEUE_FULL"
        assert refusal.retry_after_s > 0


def test_flood_of_one_lane_does_not_shut_out_another() -> None:
    """Bulk work without end lengthens an interactive wait by its share at most."""
    admission = learnt(1000, Limits(max_wait_s=1.0), Lane.BULK)
    assert admission.predicted_wait(Lane.INTERACTIVE) == 0
    assert admission.refusal(Lane.INTERACTIVE, 0.0) is None
    assert admission.refusal(Lane.BULK, 0.0) is not None


def test_deadline_that_cannot_be_met_is_told_at_once() -> None:
    """Work that would come too late is refused, except by an engine that has nothing to do."""
    admission = learnt(40, Limits())  # 0.5 s of work, and 0.1 s for its own batch
    assert admission.refusal(Lane.INTERACTIVE, 0.0, deadline=0.65) is None
    refusal = admission.refusal(Lane.INTERACTIVE, 0.0, deadline=0.55)
    assert refusal is not None
    assert refusal.reason == "DEADLINE_UNREACHABLE"
    assert learnt(0, Limits()).refusal(Lane.INTERACTIVE, 0.0, deadline=0.05) is None
