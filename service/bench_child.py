"""One engine in a process of its own, so that its memory can be told from the others'."""

from __future__ import annotations

import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.backends.base import Engine, EngineInput

REFERENCE = "reference:"
"""Prefix of the folder with a checkout of the reference implementation, in place of a backend."""


class EngineFailedError(RuntimeError):
    """An engine could not be loaded or stopped working; the message is its reason."""


class EngineChild:
    """Speaks with the process of one engine."""

    def __init__(self, folder: Path, backend: str, threads: int) -> None:
        """Start the process and wait until the engine is loaded; raises EngineFailedError.

        ``backend`` is as ``load_engine`` takes it, or ``reference:DIR``.
        """
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, folder, backend, threads), daemon=True
        )
        self._process.start()
        theirs.close()
        self.backend = backend
        self.name: str
        """The engine's own name, with device and precision."""
        self.load_s: float
        self.name, self.load_s = self._answer()

    def first(self, batch: EngineInput) -> tuple[float, NDArray[np.uint8]]:
        """Run a batch for the first time; returns seconds and the photographs."""
        seconds, pixels = self._ask("first", batch)
        return seconds, pixels

    def again(self, runs: int) -> tuple[list[float], int]:
        """Run the last batch ``runs`` times.

        Returns the seconds of each, and the most bytes of main memory that the process has held
        so far.
        """
        seconds, memory = self._ask("again", runs)
        return seconds, memory

    def stop(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, command: str, argument: Any) -> Any:
        try:
            self._connection.send((command, argument))
        except OSError as error:
            raise EngineFailedError(self._end()) from error
        return self._answer()

    def _answer(self) -> Any:
        try:
            answer, reason = self._connection.recv()
        except (EOFError, OSError) as error:
            raise EngineFailedError(self._end()) from error
        if reason is not None:
            self.stop()
            raise EngineFailedError(reason)
        return answer

    def _end(self) -> str:
        self._process.join(timeout=10)
        return f"its process ended with exit code {self._process.exitcode}"


def _serve(connection: Connection, folder: Path, backend: str, threads: int) -> None:
    """Load the engine and obey until the other end closes."""
    try:
        started = time.perf_counter()
        engine = _load(folder, backend, threads)
        connection.send(((engine.name, time.perf_counter() - started), None))
        batch: EngineInput | None = None
        while True:
            command, argument = connection.recv()
            if command == "first":
                batch = argument
                seconds, pixels = _timed(engine, argument)
                connection.send(((seconds, pixels), None))
            else:
                assert batch is not None
                times = [_timed(engine, batch)[0] for _ in range(argument)]
                connection.send(((times, _peak_memory()), None))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:  # noqa: BLE001, whatever stops an engine is its line in the report
        connection.send((None, " ".join(f"{type(error).__name__}: {error}".split())[:500]))


def _load(folder: Path, backend: str, threads: int) -> Engine:
    from model.bundle import load_bundle

    bundle = load_bundle(folder)
    if backend.startswith(REFERENCE):
        from service.backends.torch_reference import ReferenceEngine

        return ReferenceEngine(bundle, Path(backend.removeprefix(REFERENCE)), threads)
    from service.backends import load_engine

    return load_engine(bundle, backend, threads)


def _timed(engine: Engine, batch: EngineInput) -> tuple[float, NDArray[np.uint8]]:
    started = time.perf_counter()
    pixels = engine.run(batch)
    return time.perf_counter() - started, pixels


def _peak_memory() -> int:
    """Peak resident size in bytes; getrusage would count the parent's before the child began."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])
