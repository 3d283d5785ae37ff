"""All runs of a study: one after the other, or one on every device at a time."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from tqdm import tqdm

from training.ablation.runs import Job, Outcome, read_outcome, run_job
from training.interrupts import Interrupts

LOG = "log.txt"


class RunFailedError(RuntimeError):
    """A run in a process of its own has failed; the message names it and its log."""


def run_all(
    jobs: Sequence[Job],
    devices: Sequence[str],
    threads: int = 0,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> bool:
    """Do what is left of every run; returns False when a signal stopped them before the end.

    With one device the runs follow each other in this process. With several, each run has a
    process and a device of its own and writes what it says to log.txt in its folder. ``threads``
    is the number of CPU threads of each run, 0 = torch's choice. Raises RunFailedError, or what
    ``run_job`` raises in this process; the other runs are then stopped at a checkpoint.
    """
    left = []
    for job in jobs:
        outcome = read_outcome(job)
        if outcome is None:
            left.append(job)
        elif on_outcome:
            on_outcome(outcome)
    with tqdm(
        total=len(jobs), initial=len(jobs) - len(left), unit="run", dynamic_ncols=True
    ) as bar:
        if len(devices) > 1:
            return _side_by_side(left, devices, threads, bar, on_outcome)
        if threads:
            torch.set_num_threads(threads)
        for job in left:
            bar.set_description(job.name)
            outcome = run_job(job, devices[0])
            if outcome is None:
                return False
            bar.update()
            if on_outcome:
                on_outcome(outcome)
    return True


@dataclass(frozen=True)
class _Running:
    job: Job
    device: str
    process: BaseProcess


def _side_by_side(
    left: Sequence[Job],
    devices: Sequence[str],
    threads: int,
    bar: tqdm[Any],
    on_outcome: Callable[[Outcome], None] | None,
) -> bool:
    waiting, free = list(left), list(devices)
    running: list[_Running] = []
    with Interrupts() as interrupts:
        try:
            while running or (waiting and not interrupts.wanted):
                while waiting and free and not interrupts.wanted:
                    running.append(_start(waiting.pop(0), free.pop(0), threads))
                bar.set_description(", ".join(r.job.name for r in running))
                connection.wait([r.process.sentinel for r in running], timeout=0.5)
                if interrupts.wanted:
                    _stop(running)
                for ended in [r for r in running if not r.process.is_alive()]:
                    running.remove(ended)
                    free.append(ended.device)
                    outcome = _outcome(ended, interrupts.wanted)
                    if outcome is None:
                        continue  # a signal stopped it, and the same signal stops the others
                    bar.update()
                    if on_outcome:
                        on_outcome(outcome)
        finally:
            _stop(running)
            for r in running:
                r.process.join()
        return not interrupts.wanted and all(read_outcome(job) for job in left)


def _start(job: Job, device: str, threads: int) -> _Running:
    job.folder.mkdir(parents=True, exist_ok=True)
    process = get_context("spawn").Process(target=_run_logged, args=(job, device, threads))
    process.start()
    return _Running(job, device, process)


def _run_logged(job: Job, device: str, threads: int) -> None:
    """Be the process of one run."""
    if threads:
        torch.set_num_threads(threads)
    with (job.folder / LOG).open("a", encoding="utf-8") as log, contextlib.redirect_stderr(log):
        try:
            run_job(job, device)
        except BaseException:
            traceback.print_exc()
            raise


def _stop(running: Sequence[_Running]) -> None:
    """Ask for a checkpoint and the end; training answers SIGTERM so."""
    for r in running:
        r.process.terminate()


def _outcome(ended: _Running, stopping: bool) -> Outcome | None:
    """Read what a run reached; a signal may end it only when all are being stopped."""
    code = ended.process.exitcode or 0
    if code > 0 or (code < 0 and not stopping):
        path = ended.job.folder / LOG
        last = path.read_text("utf-8").strip().rpartition("\n")[2] if code > 0 else "killed"
        raise RunFailedError(f"run {ended.job.name} failed: {last} (see {path})")
    return read_outcome(ended.job)
