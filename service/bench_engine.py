"""All engines side by side in one run: time, memory, and how far their photographs are apart.

Every engine has a process of its own. They take turns, round by round, on the same scenes, so
that a machine that slows down or speeds up does so for all of them. What is timed is the engine:
integer maps in, bytes out, without reading or encoding files.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle, Parity
from model.scenes import PALETTE, draw_scene
from model.styles import StyleChoice
from service.backends import BACKENDS, EngineInput
from service.bench_child import EngineChild, EngineFailedError
from service.synthesizer import batch_forms, fill_batch, prepare_scene

STANDARD = "torch"
"""What photographs are compared with: torch, eager, float32."""

Summarise = Callable[[NDArray[np.int16], int, tuple[str, ...]], Parity]
"""``export.parity.summarise``: absolute differences, scenes and sizes to a parity record."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One engine at one size and batch; times of a whole batch."""

    engine: str
    size: tuple[int, int]
    """Width and height in pixels."""
    batch: int
    load_s: float
    """To load the engine, once."""
    first_s: float
    """The first call at this size and batch."""
    median_ms: float
    p99_ms: float
    images_per_s: float
    memory_bytes: int
    """Peak of the engine's process in main memory, over the run so far."""
    gpu_memory_bytes: int | None
    """By how much the GPU's used memory has risen for the engine; None without a GPU."""
    parity: Parity | None
    """Against torch float32 eager; None where torch could not run."""


@dataclass
class Report:
    """What a run found."""

    rows: list[Row] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    """Backend -> why it did not take part, or not to the end."""


@dataclass
class _Running:
    """An engine that takes part, and what is known of it so far."""

    child: EngineChild
    timed: bool
    """False for the standard, where it is wanted for its photographs alone."""
    gpu_memory: int
    memory: int = 0
    first_s: float = 0.0
    pixels: NDArray[np.uint8] | None = None
    seconds: list[float] = field(default_factory=list)


def all_backends(bundle: Bundle) -> list[str]:
    """Everything that might run ``bundle``: each backend in each precision it was exported in."""
    found = []
    for backend in BACKENDS:
        runtime = "onnx" if backend == "onnx-cuda" else backend
        precisions = [e.precision for e in bundle.engines if e.backend == runtime]
        if backend == "onnx-cuda":
            precisions = [p for p in precisions if p.startswith("float")]
        found += [f"{backend}:{precision}" for precision in precisions] or [backend]
    found.remove("auto")  # one of the others
    return found


def bench_engines(
    bundle: Bundle,
    backends: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    batches: Sequence[int],
    *,
    rounds: int = 5,
    runs: int = 4,
    threads: int = 0,
    summarise: Summarise | None = None,
    say: Say = lambda _: None,
) -> Report:
    """Time every backend at every (width, height) and batch.

    Each of ``rounds`` rounds runs every engine ``runs`` times. ``threads`` 0 = one per processor
    core. Without ``summarise`` nothing is compared. Engines that cannot run are reported as
    absent with their reason. Raises BundleError for a bundle that has not been written.
    """
    report = Report()
    folder = bundle.path("")
    wanted = [(backend, True) for backend in backends]
    if summarise is not None and STANDARD not in backends:
        wanted.append((STANDARD, False))
    with contextlib.ExitStack() as stack:
        running = []
        for backend, timed in wanted:
            say(f"loading {backend}")
            before = _gpu_memory()
            try:
                child = EngineChild(folder, backend, threads)
            except EngineFailedError as error:
                # Tables are shown to others: where the bundle lies here is nothing to them.
                report.absent[backend] = str(error).replace(str(bundle.folder), bundle.name)
                continue
            stack.callback(child.stop)
            running.append(_Running(child, timed, _gpu_memory() - before))
        for size in sizes:
            for batch in batches:
                scenes = _draw(bundle, size, batch)
                _first_calls(running, scenes, report, say)
                for _ in range(rounds):
                    _take_turns(running, runs, report)
                report.rows += _rows(running, size, batch, summarise)
                say(f"{size[0]}x{size[1]} batch {batch}: done")
    return report


def _first_calls(running: list[_Running], scenes: EngineInput, report: Report, say: Say) -> None:
    for engine in list(running):
        say(f"first call of {engine.child.name}")
        before = _gpu_memory()
        with _absence(engine, running, report):
            engine.first_s, engine.pixels = engine.child.first(scenes)
            engine.gpu_memory += _gpu_memory() - before
            engine.seconds = []


def _take_turns(running: list[_Running], runs: int, report: Report) -> None:
    for engine in list(running):
        if engine.timed:
            with _absence(engine, running, report):
                seconds, engine.memory = engine.child.again(runs)
                engine.seconds += seconds


@contextlib.contextmanager
def _absence(engine: _Running, running: list[_Running], report: Report) -> Iterator[None]:
    """An engine that fails leaves the run, and the report says why."""
    try:
        yield
    except EngineFailedError as error:
        running.remove(engine)
        report.absent[engine.child.backend] = str(error)


def _rows(
    running: list[_Running], size: tuple[int, int], batch: int, summarise: Summarise | None
) -> list[Row]:
    standard = next((e.pixels for e in running if e.child.backend == STANDARD), None)
    rows = []
    for engine in running:
        if not engine.timed:
            continue
        parity = None
        if summarise is not None and standard is not None and engine.pixels is not None:
            apart = np.abs(engine.pixels.astype(np.int16) - standard)
            parity = summarise(apart.ravel(), batch, (f"{size[0]}x{size[1]}",))
        rows.append(
            Row(
                engine=engine.child.name,
                size=size,
                batch=batch,
                load_s=engine.child.load_s,
                first_s=engine.first_s,
                median_ms=1000 * float(np.median(engine.seconds)),
                p99_ms=1000 * float(np.percentile(engine.seconds, 99)),
                images_per_s=batch * len(engine.seconds) / sum(engine.seconds),
                memory_bytes=engine.memory,
                gpu_memory_bytes=engine.gpu_memory if has_gpu() else None,
                parity=parity,
            )
        )
    return rows


def _draw(bundle: Bundle, size: tuple[int, int], batch: int) -> EngineInput:
    """Draw a batch of different scenes, in the classes that the model has."""
    scenes = []
    for seed in range(batch):
        drawn = draw_scene(*size, seed=seed)
        count = bundle.input.label_count
        colours = np.asarray(PALETTE, np.uint8)[:, : bundle.input.image_channels]
        label = drawn.label % count if count else colours[drawn.label]
        scenes.append(prepare_scene(bundle, label, drawn.instance, StyleChoice(seed=seed)))
    forms = batch_forms(bundle, scenes)
    arrays = {name: np.empty(shape, dtype) for name, (dtype, shape) in forms.items()}
    fill_batch(scenes, arrays)
    return EngineInput(**arrays)


def has_gpu() -> bool:
    """Say whether NVIDIA's driver is installed and answers."""
    return bool(_ask_driver("memory.used"))


def gpu_name() -> str | None:
    """Name of the first NVIDIA GPU; None without one."""
    names = _ask_driver("name")
    return names[0] if names else None


def _gpu_memory() -> int:
    """Bytes in use on all NVIDIA GPUs, whoever uses them; 0 without one."""
    return sum(int(mebibytes) << 20 for mebibytes in _ask_driver("memory.used"))


def _ask_driver(what: str) -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603, no user input
    return answer.stdout.split("\n")[:-1] if answer.returncode == 0 else []
