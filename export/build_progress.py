"""Show how far TensorRT is with building an engine."""

from __future__ import annotations

import threading
from typing import Any

from tqdm import tqdm


class PhaseBar:
    """One bar for nested phases: it counts the outermost one's steps and names the innermost.

    TensorRT reports from several threads.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._phases: list[str] = []
        self._bar: tqdm[Any] | None = None

    def start(self, phase: str, steps: int) -> None:
        """Enter a phase."""
        with self._lock:
            if self._bar is None:
                # Silent where nobody looks at a terminal.
                self._bar = tqdm(total=steps, desc=self._what, unit="step", disable=None)
            self._phases.append(phase)
            self._bar.set_postfix_str(phase)

    def step(self, phase: str) -> None:
        """Count a step of a phase."""
        with self._lock:
            if self._bar is not None and self._phases[:1] == [phase]:
                self._bar.update()

    def finish(self, phase: str) -> None:
        """Leave a phase; leaving the outermost ends the bar."""
        with self._lock:
            self._phases.remove(phase)
            if self._bar is not None and not self._phases:
                self._bar.close()
                self._bar = None


def build_progress(trt: Any, what: str) -> Any:
    """A progress monitor for TensorRT's builder, which it must outlive.

    Its ``cancelled`` says whether Ctrl-C ended the build.
    """

    class Progress(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._bar = PhaseBar(what)
            self.cancelled = False

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:  # noqa: ARG002
            self._bar.start(phase, steps)

        def step_complete(self, phase: str, step: int) -> bool:  # noqa: ARG002
            try:
                self._bar.step(phase)
            except KeyboardInterrupt:
                # An exception must not pass through TensorRT; False makes it stop by itself.
                self.cancelled = True
            return not self.cancelled

        def phase_finish(self, phase: str) -> None:
            self._bar.finish(phase)

    return Progress()
