"""Ray: pieces of work are given to workers that load their engine once, here or on a cluster."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from service.bulk_task import FileWorker, ShardWorker, Task

RETRIES = 1
"""How often a piece is given out again whose worker has died."""
_MOST_ROWS = 256
"""Maps of one piece of work: little enough to tell progress, enough to keep an engine busy."""
_PIECES_PER_WORKER = 8
_CPU_BACKENDS = frozenset({"onnx", "openvino", "fake"})

Columns = dict[str, list[str]]
"""What there is to do: a row for each map or shard."""


def cut(columns: Columns, rows: int) -> list[Columns]:
    """Cut what there is to do into pieces of ``rows`` rows."""
    starts = range(0, len(columns["name"]), rows)
    return [{name: column[s : s + rows] for name, column in columns.items()} for s in starts]


def give_out(
    worker: type[FileWorker | ShardWorker],
    task: Task,
    pieces: list[Columns],
    workers: int,
    resources: dict[str, float],
    overlap: bool,
) -> Iterable[dict[str, Any]]:
    """Have the pieces rendered; returns what the workers tell, as it comes.

    With ``overlap`` a worker has two pieces at once, so that its engine does not wait between one
    and the next; without it no piece suffers from its neighbour.
    """
    import ray.data

    pool = ray.data.ActorPoolStrategy(
        size=workers,
        max_tasks_in_flight_per_actor=3 if overlap else 1,
        max_concurrent_calls_per_actor=2 if overlap else 1,
        enable_true_multi_threading=True,
    )
    with warnings.catch_warnings():
        # A worker always comes back, but with its pieces only so often: else a map that kills it
        # would do so for ever. Ray has only a deprecated way to say so.
        warnings.simplefilter("ignore", DeprecationWarning)
        work: Any = ray.data.from_items(pieces, override_num_blocks=len(pieces))
        done = work.map_batches(
            worker,
            fn_constructor_args=(task,),
            batch_size=1,
            batch_format="numpy",
            compute=pool,
            max_restarts=-1,
            max_task_retries=RETRIES,
            **resources,
        )
    batches: Iterable[dict[str, Any]] = done.iter_batches(batch_size=None)
    return batches


def rows_at_once(count: int, workers: int, batch: int) -> int:
    """Return how many of ``count`` maps make a piece."""
    shared = math.ceil(count / (workers * _PIECES_PER_WORKER))
    return max(batch, min(shared, _MOST_ROWS))


def resources_of(cluster: dict[str, float], task: Task) -> tuple[dict[str, float], int]:
    """Return what one worker asks of Ray, and how many of them the cluster has room for."""
    cores, gpus = cluster.get("CPU", 1.0), int(cluster.get("GPU", 0))
    if gpus and task.backend.partition(":")[0] not in _CPU_BACKENDS:
        return {"num_gpus": 1, "num_cpus": min(4.0, cores / gpus)}, gpus
    each = min(task.threads, cores)
    return {"num_cpus": each}, max(1, int(cores // each))


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Start Ray here, or connect to a cluster, for as long as the block lasts."""
    # Nothing is told to Ray's makers; it must be said before the import.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # the rest is in Ray's log files
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError("bulk runs need Ray: pip install 'hdsynth[ray]'") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    ray.init(
        address=address or "local",
        include_dashboard=None if address else False,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # a worker that dies costs the maps that it had, not the run
    try:
        yield ray
    finally:
        ray.shutdown()
