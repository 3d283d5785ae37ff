"""The process of one engine: ``python -P -m service.engine_worker CONTROL SLOT SLOT``.

It is started by ``service.engine_child`` with the file descriptors of a socket, over which both
speak JSON, one message per line, and of the shared memory that batches lie in. Commands:

    load    always the first; answered by "ready" after every warm-up run, or by "failed"
    run     a batch that lies in a slot; answered by "done"
    stats   answered by "stats"

It ends when the socket is closed, so it never outlives the server, whatever became of that.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle, load_bundle
from model.engine_key import batch_profiles
from service.backends import Engine, EngineInput, load_engine, runs_on_processor
from service.engine_errors import EngineFatalError, is_fatal, is_out_of_memory
from service.memory import keep_freed_memory
from service.shared_planes import Array, SharedPlanes
from service.synthesizer import Synthesizer

Message = dict[str, Any]
EXIT_FATAL = 70
"""Exit status after the device has failed (EX_SOFTWARE in sysexits.h)."""
NICENESS = 5
"""Of engines that keep every core busy, so that the server goes first: it answers and refuses."""


class Worker:
    """One engine and what it has done so far."""

    def __init__(self, bundle: Bundle, engine: Engine, slots: list[SharedPlanes]) -> None:
        self.engine, self._slots = engine, slots
        self._synthesizer = Synthesizer(bundle, engine)
        self._probe: tuple[int, int] = (1, 1)
        self._runs = self._images = 0
        self._sizes: Counter[int] = Counter()

    def warm_up(self, sizes: list[tuple[int, int]], batches: list[int]) -> Message:
        """Run every batch at every (height, width).

        Returns rows of height, width, batch and seconds for the smallest and the largest batch,
        which are run again for it because first runs are slow; and rows of height, width and
        batch for sizes at which the memory ended before the largest batch.
        """
        timed, caps = [], []
        self._probe = min(sizes, key=np.prod)
        for size in sizes:
            fitting = self._fitting(size, batches)
            if fitting != batches:
                caps.append([*size, fitting[-1]])
            for batch in sorted({fitting[0], fitting[-1]}):
                started = perf_counter()
                self._synthesizer.warm_up(*size, batch)
                timed.append([*size, batch, perf_counter() - started])
        return {"timed": timed, "caps": caps}

    def _fitting(self, size: tuple[int, int], batches: list[int]) -> list[int]:
        """Run the batches in ascending order; returns those that the memory holds."""
        for place, batch in enumerate(batches):
            try:
                self._synthesizer.warm_up(*size, batch)
            except Exception as error:
                if not place or not is_out_of_memory(error):
                    raise
                return batches[:place]
        return batches

    def run(self, command: Message) -> Message:
        """Run a batch that lies in a slot. Raises EngineFatalError."""
        arrays = self._slots[command["slot"]].arrays(command["planes"])
        present = np.flatnonzero(arrays.pop("left") == 0).tolist()
        out = arrays.pop("image")
        started = perf_counter()
        faults, cap = self._run_rows(arrays, out, present)  # type: ignore[arg-type]
        seconds = perf_counter() - started
        if present and len(faults) == len(present):
            self._require_that_a_blank_scene_works()
        return {"faults": faults, "cap": cap, "seconds": seconds, "images": len(present)}

    def stats(self) -> Message:
        """Return how often the engine ran since it was loaded, warm-up apart."""
        return {"runs": self._runs, "images": self._images, "batches": sorted(self._sizes.items())}

    def _run_rows(
        self, arrays: Mapping[str, Array], out: NDArray[np.uint8], rows: list[int]
    ) -> tuple[dict[int, str], int | None]:
        """Run some rows of a batch; a smaller batch where memory ends, singly where one fails.

        Returns what went wrong with single rows, and how many fitted if not all did.
        """
        faults: dict[int, str] = {}
        size, cap, position = max(1, len(rows)), None, 0
        while position < len(rows):
            part = rows[position : position + size]
            try:
                self._run_once(arrays, out, part)
            except Exception as error:
                if is_fatal(error):
                    raise EngineFatalError(_words(error)) from error
                if len(part) == 1:
                    faults[part[0]] = _words(error)
                elif is_out_of_memory(error):
                    size = cap = len(part) // 2
                    continue
                else:
                    for row in part:
                        faults |= self._run_rows(arrays, out, [row])[0]
            position += len(part)
        return faults, cap

    def _run_once(
        self, arrays: Mapping[str, Array], out: NDArray[np.uint8], rows: list[int]
    ) -> None:
        whole = len(rows) == len(out)
        batch = {name: array if whole else array[rows] for name, array in arrays.items()}
        self._runs += 1
        self._images += len(rows)
        self._sizes[len(rows)] += 1
        images = self.engine.run(EngineInput(**batch))  # type: ignore[arg-type]
        out[slice(None) if whole else rows] = images  # a slice is copied faster

    def _require_that_a_blank_scene_works(self) -> None:
        """Tell scenes that the engine cannot run from an engine that cannot run any scene."""
        try:
            self._synthesizer.warm_up(*self._probe)
        except Exception as error:
            if is_fatal(error):
                raise EngineFatalError(_words(error)) from error
            raise  # ends the process, which is started anew


class Channel:
    """The socket to the server."""

    def __init__(self, descriptor: int) -> None:
        self._file = socket.socket(fileno=descriptor).makefile("rwb")

    def receive(self) -> Message | None:
        """Wait for the next command; None = the server is gone."""
        line = self._file.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def send(self, event: str, **entries: Any) -> None:
        """Tell the server something."""
        self._file.write(json.dumps({"event": event, **entries}).encode() + b"\n")
        self._file.flush()


def main() -> int:
    """Serve one engine until the server has enough of it."""
    # Meant for the server, which ends us when it has answered what is running.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    control, *slots = map(int, sys.argv[1:])
    for descriptor in (control, *slots):
        os.set_inheritable(descriptor, False)
    channel = Channel(control)
    keep_freed_memory()
    try:
        _serve(channel, [SharedPlanes(descriptor) for descriptor in slots])
    except EngineFatalError as error:
        channel.send("fatal", detail=str(error))
        return EXIT_FATAL
    except (BrokenPipeError, ConnectionResetError):
        pass
    return 0


def _serve(channel: Channel, slots: list[SharedPlanes]) -> None:
    first = channel.receive()
    if first is None:
        return
    try:
        bundle = load_bundle(Path(first["bundle"]))
        if runs_on_processor(first["backend"]):
            os.nice(NICENESS)  # its threads inherit it
        profiles = batch_profiles([(w, h) for h, w in first["sizes"]], first["batches"])
        engine = load_engine(bundle, first["backend"], first["threads"], profiles)
        worker = Worker(bundle, engine, slots)
        warmed = worker.warm_up(first["sizes"], first["batches"])
    except Exception as error:  # noqa: BLE001, told to the server, which ends with it
        traceback.print_exc()
        channel.send("failed", detail=_words(error))
        return
    sizes = {(profile.height, profile.width) for profile in getattr(engine, "profiles", ())}
    channel.send("ready", name=engine.name, sizes=sorted(sizes), **warmed)
    while (command := channel.receive()) is not None:
        if command["op"] == "run":
            channel.send("done", run=command["run"], **worker.run(command))
        else:
            channel.send("stats", **worker.stats())
    engine.close()


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:2000]


if __name__ == "__main__":
    sys.exit(main())
