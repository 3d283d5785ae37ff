"""Bulk rendering on Ray Data: millions of maps, on one machine or a cluster.

A photograph is there or it is not: names follow from the inputs' names, files appear whole, and a
run begins with a look at what is there. So a run that was killed goes on when it is started again.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.bulk_ray import RETRIES, Columns, connected, cut, give_out, resources_of, rows_at_once
from service.bulk_store import NOTES, Store
from service.bulk_task import (
    SHARD_ERRORS,
    SHARD_SUFFIX,
    FileWorker,
    ShardWorker,
    Task,
    task_settings,
)

SETTINGS = f"{NOTES}/settings.json"
ERRORS = f"{NOTES}/errors.jsonl"
REPORT = f"{NOTES}/report.json"
_LOST = f"its worker died {RETRIES + 1} times while it had this one; see Ray's logs"


class BulkError(ValueError):
    """A bulk run cannot begin; the message says why and what to do."""


@dataclass(frozen=True)
class MapFile:
    """Names of the files of one map, in the source folder."""

    name: str
    """What the photograph is called, without ending."""
    label: str
    instance: str = ""
    """Empty = none."""


@dataclass(frozen=True)
class Cluster:
    """Where a run computes."""

    address: str = ""
    """Of a Ray cluster; empty = this machine alone."""
    workers: int = 0
    """Engines; 0 = one per GPU, and without GPUs as many as there are cores for their threads."""


@dataclass
class Report:
    """What a run has done."""

    photos: int = 0
    already_done: int = 0
    """Inputs (maps, or shards) whose outputs were there."""
    errors: int = 0
    """Of this run and, in shards, of earlier ones."""
    megapixels: float = 0.0
    seconds: float = 0.0
    """From the first work given out, engines loaded, to the last photograph written."""
    start_s: float = 0.0
    """Before that: Ray and the engines."""
    engine_s: float = 0.0
    """Of all engines together."""
    workers: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Name and reason, for each error of this run."""

    @property
    def photos_per_s(self) -> float:
        """Throughput of all workers together."""
        return self.photos / self.seconds if self.seconds else 0.0

    @property
    def engine_share(self) -> float:
        """Part of the time in which an engine was busy: 1 = reading and writing cost nothing."""
        return self.engine_s / (self.seconds * self.workers) if self.seconds else 0.0

    def summary(self) -> str:
        """Say in a line what was done, and how fast."""
        return (
            f"{self.photos} photographs in {self.seconds:.1f} s ({self.photos_per_s:.1f}/s, "
            f"{self.workers} workers, engines busy {self.engine_share:.0%} of the time), after "
            f"{self.start_s:.1f} s to start; {self.already_done} inputs had been done before"
        )


def render_files(
    task: Task,
    maps: Sequence[MapFile],
    cluster: Cluster,
    progress: Callable[[int], object] = lambda _: None,
) -> Report:
    """Make a photograph of every map that has none yet; ``progress`` is told how many are done.

    Raises BulkError if the target belongs to a run with other settings, ImportError without Ray.
    """
    _claim(task, {"inputs": "files"})
    there = set(task.target.names())
    todo = [m for m in maps if f"{m.name}{task.ending}" not in there]
    report = Report(already_done=len(maps) - len(todo))
    columns = {f.name: [getattr(m, f.name) for m in todo] for f in dataclasses.fields(MapFile)}
    _run(FileWorker, task, columns, cluster, report, progress)
    report.errors = len(report.failed)
    return _finish(task, report, ({"name": n, "error": e} for n, e in report.failed))


def render_shards(
    task: Task, cluster: Cluster, progress: Callable[[int], object] = lambda _: None
) -> Report:
    """Make a shard of photographs of every shard of maps that has none yet.

    ``progress`` is told how many photographs are done. Raises BulkError also if there are no
    shards, and else as ``render_files``.
    """
    shards = [name for name in task.source.names() if name.endswith(SHARD_SUFFIX)]
    if not shards:
        raise BulkError(f"{task.source}: no shards in it; they are files named *{SHARD_SUFFIX}")
    _claim(task, {"inputs": "shards"})
    there = set(task.target.names())
    todo = [name for name in shards if name not in there]
    report = Report(already_done=len(shards) - len(todo))
    # A shard is work for minutes: none waits behind another one while a worker is idle.
    _run(ShardWorker, task, {"name": todo}, cluster, report, progress, rows=1)
    errors = [*_noted_errors(task.target)]
    unread = [{"name": name, "error": e} for name, e in report.failed if name in todo]
    report.errors = len(errors) + len(unread)
    return _finish(task, report, [*unread, *errors])


# ---- The target folder -------------------------------------------------------------------------


def _claim(task: Task, more: dict[str, str]) -> None:
    """Note the run's settings in the target, or raise BulkError if it holds those of another."""
    settings = task_settings(task) | more
    try:
        earlier = json.loads(task.target.read(SETTINGS))
    except FileNotFoundError:
        task.target.write(SETTINGS, json.dumps(settings, indent=1).encode())
    else:
        for name in settings:
            if earlier.get(name) != settings[name]:
                raise BulkError(
                    f"{task.target}: holds photographs made with {name} {earlier.get(name)}, not "
                    f"{settings[name]}; repeat the earlier settings, or choose another folder"
                )
    task.target.clean()


def _noted_errors(target: Store) -> Iterator[dict[str, str]]:
    for name in target.names(SHARD_ERRORS):
        for line in target.read(f"{SHARD_ERRORS}/{name}").splitlines():
            yield json.loads(line)


def _finish(task: Task, report: Report, errors: Iterable[dict[str, str]]) -> Report:
    lines = [json.dumps(error) + "\n" for error in errors]
    task.target.write(ERRORS, "".join(lines).encode())
    found = {k: v for k, v in dataclasses.asdict(report).items() if k != "failed"}
    found |= {"photos_per_s": report.photos_per_s, "engine_share": report.engine_share}
    task.target.write(REPORT, (json.dumps(found, indent=1) + "\n").encode())
    return report


# ---- The work ----------------------------------------------------------------------------------


def _run(
    worker: type[FileWorker | ShardWorker],
    task: Task,
    columns: Columns,
    cluster: Cluster,
    report: Report,
    progress: Callable[[int], object],
    rows: int = 0,
) -> None:
    """Give the rows of ``columns`` to workers, ``rows`` at once (0 = chosen); fills the report.

    Raises RuntimeError if no worker can be started.
    """
    if not columns["name"]:
        return
    with connected(cluster.address) as ray:
        resources, most = resources_of(ray.cluster_resources(), task)
        workers = cluster.workers or most
        rows = rows or rows_at_once(len(columns["name"]), workers, task.batch)
        # What is lost with a worker is tried again one by one, so that only the guilty stay lost.
        for at_once, overlap in ((rows, True), (1, False)):
            pieces = cut(columns, at_once)
            report.workers = max(report.workers, min(workers, len(pieces)))
            started = time.time()
            try:
                used = min(workers, len(pieces))
                batches = give_out(worker, task, pieces, used, resources, overlap)
                told = _collect(batches, report, progress, started)
            except ray.exceptions.RayError as error:
                reason = str(error).strip().splitlines()[-1]
                raise RuntimeError(f"no worker can be started: {reason}") from error
            columns = {
                column: [
                    v for v, name in zip(values, columns["name"], strict=True) if name not in told
                ]
                for column, values in columns.items()
            }
            if not columns["name"]:
                return
    report.failed += [(name, _LOST) for name in columns["name"]]


def _collect(
    batches: Iterable[dict[str, Any]],
    report: Report,
    progress: Callable[[int], object],
    started: float,
) -> set[str]:
    """Add up what workers tell; returns the names that they told of."""
    told: set[str] = set()
    began = ended = math.inf
    for batch in batches:
        ended = time.time()
        photos = int(batch["photos"].sum())
        report.photos += photos
        report.megapixels += float(batch["pixels"].sum()) / 1e6
        report.engine_s += float(batch["engine_s"].sum())
        began = min(began, float(batch["began"].min()))
        names, errors = batch["name"].tolist(), batch["error"].tolist()
        told.update(names)
        report.failed += [(n, e) for n, e in zip(names, errors, strict=True) if e]
        progress(photos)
    if told:
        report.start_s += began - started
        report.seconds += ended - began
    return told
