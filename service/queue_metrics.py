"""The gauges of a queue, read at the moment that somebody asks for them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial

from service import metrics
from service.jobs import Lane
from service.scheduler import Scheduler

OTHER = "other"
"""The bucket of all sizes that the settings do not name, since callers may invent any number."""


def watch_queue(scheduler: Scheduler, buckets: Sequence[tuple[int, int]]) -> None:
    """Let the model's gauges show this queue; ``buckets`` are the widths and heights to tell apart.

    A model that is loaded again takes the gauges over from its predecessor.
    """
    model = scheduler.model
    metrics.QUEUE_OLDEST_SECONDS.labels(model).set_function(scheduler.oldest_age)
    metrics.QUEUE_PREDICTED_SECONDS.labels(model).set_function(scheduler.predicted_wait)
    metrics.ENGINE_BUSY.labels(model).set_function(scheduler.busy_ratio)
    known: dict[Hashable, str] = {(height, width): f"{width}x{height}" for width, height in buckets}
    for lane in Lane:
        for name in {*known.values(), OTHER}:
            gauge = metrics.QUEUE_DEPTH.labels(model, lane, name)
            gauge.set_function(partial(_depth, scheduler, known, lane, name))


def forget_queue(model: str, buckets: Sequence[tuple[int, int]]) -> None:
    """Take away the gauges of a model that is served no longer."""
    metrics.QUEUE_OLDEST_SECONDS.remove(model)
    metrics.QUEUE_PREDICTED_SECONDS.remove(model)
    metrics.ENGINE_BUSY.remove(model)
    for lane in Lane:
        for name in {*(f"{width}x{height}" for width, height in buckets), OTHER}:
            metrics.QUEUE_DEPTH.remove(model, lane, name)


def _depth(scheduler: Scheduler, known: Mapping[Hashable, str], lane: Lane, name: str) -> float:
    depth = 0
    for (waiting, bucket), entries in scheduler.queue.depths().items():
        if waiting == lane and known.get(bucket, OTHER) == name:
            depth += entries
    return depth
