"""Kill a bulk run half-way, start it again, and look at what there is.

    python tests/soak/bulk_restart.py --maps 500 --model BUNDLE --speed

Renders the same maps with the plain engine first, as the truth and for its speed, then on Ray:
once until half of the photographs are there and SIGKILL ends every process of the run, once more
until it is done, and with --speed once from start to end in another folder. Ends with status 1 if
a photograph is missing, torn or different, or if one was made twice. Prints figures as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

HDSYNTH = str(Path(sys.executable).with_name("hdsynth"))


def photos(folder: Path) -> dict[str, Path]:
    """Photographs in a folder, by name."""
    return {path.name: path for path in folder.glob("*.png")}


def run(*arguments: str) -> float:
    """Run a command to its end; returns its seconds."""
    started = time.perf_counter()
    subprocess.run([HDSYNTH, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def run_until(count: int, folder: Path, *arguments: str) -> int:
    """Run a command until a folder holds ``count`` photographs, then kill all its processes.

    Returns how many photographs there are then.
    """
    with subprocess.Popen(
        [HDSYNTH, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while len(photos(folder)) < count:
            if process.poll() is not None:
                sys.exit(f"ended with {process.returncode} before it could be killed")
            time.sleep(0.005)
        # Ray gives its processes groups of their own, so that the group alone is not enough.
        for pid in (process.pid, *descendants(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return len(photos(folder))


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that these have."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold spaces; state and parent follow it.
            child, _, rest = stat.read_text(encoding="utf-8").partition(" (")
            parents.setdefault(int(rest.rpartition(") ")[2].split()[1]), []).append(int(child))
    found, waiting = [], [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def compare(found: dict[str, Path], wanted: dict[str, Path]) -> None:
    """Exit with a message if photographs are not those that the plain engine made."""
    for name, path in found.items():
        if path.read_bytes() != wanted[name].read_bytes():
            sys.exit(f"{path} is torn, or another photograph")


@click.command()
@click.option("--maps", "count", type=click.IntRange(2), default=500, show_default=True)
@click.option("--size", default="64x64", show_default=True)
@click.option("--model", required=True)
@click.option("--backend", default="onnx", show_default=True)
@click.option("--speed", is_flag=True, help="Also time a run that nobody kills.")
def main(count: int, size: str, model: str, backend: str, speed: bool) -> None:
    """Kill a bulk run half-way, start it again, and look at what there is."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        maps, plain, bulk, whole = (str(work / name) for name in ("maps", "plain", "bulk", "whole"))
        run("sample", maps, "--count", str(count), "--size", size)
        options = ("--model", model, "--backend", backend)
        plain_s = run("synthesize", maps, plain, *options)
        wanted = photos(Path(plain))

        command = ("synthesize", "--engine", "ray", maps, bulk, *options)
        at_kill = run_until(count // 2, Path(bulk), *command)
        before = photos(Path(bulk))
        compare(before, wanted)
        times = {name: path.stat().st_mtime_ns for name, path in before.items()}
        run(*command)
        after = photos(Path(bulk))
        if after.keys() != wanted.keys():
            sys.exit(f"{len(after)} photographs instead of {len(wanted)}")
        compare(after, wanted)
        twice = [name for name, when in times.items() if after[name].stat().st_mtime_ns != when]
        if twice:
            sys.exit(f"{len(twice)} photographs were made twice, such as {twice[0]}")
        others = {path.name for path in Path(bulk).iterdir()} - after.keys()
        if others != {"_bulk"}:
            sys.exit(f"{others} lie beside the photographs")

        found: dict[str, Any] = {
            "maps": count,
            "there_at_kill": at_kill,
            "there_after_restart": len(after),
            "plain_s": plain_s,
            "plain_photos_per_s": count / plain_s,
            "restart": json.loads((Path(bulk) / "_bulk/report.json").read_bytes()),
        }
        if speed:
            found["ray_s"] = run("synthesize", "--engine", "ray", maps, whole, *options)
            found["ray"] = json.loads((Path(whole) / "_bulk/report.json").read_bytes())
    click.echo(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
