"""Hours of everything at once: ``python tests/soak/soak.py --seconds 300 -o docs/reliability``.

A real server around an engine of known speed serves random sizes over REST, callers who leave,
malformed requests, slow readers, and streams over gRPC, one of which stays idle but for pings.
Meanwhile memory and file descriptors of the server and its engine are sampled. Then comes three
times the load that it can carry. Ends with status 1 if anything grows, is lost, or fails.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import grpc.aio
import numpy as np
from hdsynth.v1 import synthesis_pb2 as pb

from model.bundled import bundled_model_path
from service import bench_load
from service.bench_load import HttpTarget
from service.bench_serve import Result, Work, png_file, run_load, summarise
from service.bench_servers import Started, our_server

SIZES = [(64, 64), (96, 80), (128, 128), (200, 120), (256, 256), (320, 64)]
BACKEND = "fake:base_ms=20,image_ms=3"
OVERLOADED = "fake:base_ms=150,image_ms=6"
"""With batches of 8:"""
BARE_PER_S = 8 / (0.150 + 8 * 0.006)
"""Images a second of that engine alone."""
END: Any = vars(grpc.aio)["EOF"]
"""Comes instead of a message when a stream has ended; the stubs do not know it."""
MAX_GROWTH_MB = 32.0
"""Memory that a process may have gained from the first third of the soak to the last."""
MAX_FD_GROWTH = 4
"""File descriptors that may be open at the end, when all is quiet, beyond those at the start."""


@dataclass
class Tally:
    """What happened to requests of one kind."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: str) -> None:
        """Count one."""
        self.counts[outcome] += 1


@dataclass
class Watch:
    """Samples of one process."""

    name: str
    pid: int
    rss_mb: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def sample(self) -> None:
        """Read /proc."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        self.rss_mb.append(int(found[1]) / 1024 if found else 0.0)
        self.descriptors.append(len(list(Path(f"/proc/{self.pid}/fd").iterdir())))

    def growth_mb(self) -> float:
        """Compare the last third with the one before it; the first is for caches to fill."""
        third = max(1, len(self.rss_mb) // 3)
        return float(np.median(self.rss_mb[-third:]) - np.median(self.rss_mb[third : 2 * third]))


# ---- Callers -------------------------------------------------------------------------------


def form(rng: random.Random) -> tuple[bytes, str]:
    """Write a good request of a random size."""
    width, height = rng.choice(SIZES)
    label = np.full((height, width), rng.randrange(11), np.uint8)
    label[: height // 2, : rng.randrange(1, width)] = rng.randrange(11)
    instance = np.arange(height * width, dtype=np.uint16).reshape(height, width) // 997
    parts = {"label": png_file(label), "instance": png_file(instance)}
    return bench_load.multipart(parts, {"seed": rng.randrange(1 << 30)})


def broken(rng: random.Random) -> bytes:
    """Damage a good request somewhere, or send something else altogether."""
    body = bytearray(form(rng)[0])
    match rng.randrange(4):
        case 0:
            for _ in range(rng.randrange(1, 40)):
                body[rng.randrange(len(body))] = rng.randrange(256)
        case 1:
            del body[rng.randrange(len(body)) :]
        case 2:
            body = bytearray(rng.randbytes(rng.randrange(5000)))
        case _:
            place = body.find(b"IHDR")
            body[place + 4 : place + 12] = rng.randbytes(8)  # any size, up to 2^64 pixels
    return bytes(body)


async def ask(url: str, rng: random.Random, tally: Tally) -> None:
    """Send a good request."""
    body, kind = form(rng)
    accept = rng.choice(["image/png", "image/jpeg", "image/webp", "application/octet-stream"])
    target = HttpTarget(url, [body], kind, accept)
    answer = await target.send(0)
    await target.close()
    tally.add(answer.code)


async def ask_wrongly(url: str, rng: random.Random, tally: Tally) -> None:
    """Send a malformed request."""
    target = HttpTarget(url, [broken(rng)], form(rng)[1])
    answer = await target.send(0)
    await target.close()
    tally.add(answer.code)


async def leave(url: str, rng: random.Random, tally: Tally) -> None:
    """Send a good request, and close the connection at any moment."""
    task = asyncio.create_task(ask(url, rng, Tally()))
    await asyncio.sleep(rng.random() * 0.2)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    tally.add("left")


async def read_slowly(url: str, rng: random.Random, tally: Tally) -> None:
    """Take an answer a little at a time."""
    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    body, kind = form(rng)
    head = f"POST /v1/synthesize HTTP/1.1\r\nHost: x\r\nAccept: application/octet-stream\r\n\
Connection: close\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    received = 0
    while data := await reader.read(8192):
        received += len(data)
        await asyncio.sleep(0.01)
    writer.close()
    tally.add("read" if received > 1000 else "cut off")


async def stream(address: str, rng: random.Random, tally: Tally) -> None:
    """Stream frames for some seconds, then end or break off."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = _open(channel)
        await call.write(_request(config=pb.StreamConfig(format=pb.IMAGE_FORMAT_JPEG)))
        for number in range(1, rng.randrange(5, 60)):
            width, height = rng.choice(SIZES)
            label = pb.Map(
                encoding=pb.MAP_ENCODING_RAW, width=width, height=height,
                data=bytes([rng.randrange(11)]) * (width * height),
            )  # fmt: skip
            await call.write(_request(frame=pb.Frame(frame_id=number, label=label)))
            await call.write(_request(ack=pb.Ack(frame_id=number)))
            await asyncio.sleep(0.03)
        if rng.random() < 0.5:
            call.cancel()
            tally.add("broken off")
            return
        await call.done_writing()
        results = 0
        while (message := await call.read()) is not END:
            results += message.HasField("result")
        tally.add("ended" if results else "ended without a result")


async def stay_idle(address: str, seconds: float, tally: Tally) -> None:
    """Keep a stream open without frames, as a paused game does, with pings every 10 s."""
    options = [
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    async with grpc.aio.insecure_channel(address, options) as channel:
        call = _open(channel)
        await call.write(_request(config=pb.StreamConfig()))
        assert (await call.read()).HasField("ready")
        await asyncio.sleep(seconds)
        await call.write(_request(heartbeat=pb.Heartbeat(time_us=42)))
        while (message := await call.read()) is not END:
            if message.heartbeat.time_us == 42:  # others are the server's own
                tally.add("alive")
                break
        await call.done_writing()


def _open(channel: Any) -> Any:
    return channel.stream_stream(
        "/hdsynth.v1.SynthesisService/SynthesizeStream",
        request_serializer=pb.SynthesizeStreamRequest.SerializeToString,
        response_deserializer=pb.SynthesizeStreamResponse.FromString,
    )()


def _request(**message: Any) -> pb.SynthesizeStreamRequest:
    return pb.SynthesizeStreamRequest(**message)


# ---- The soak ------------------------------------------------------------------------------


async def soak(started: Started, seconds: float, seed: int) -> tuple[dict[str, Tally], list[Watch]]:
    """Keep all kinds of callers busy; sample twice a second."""
    url, end = started.endpoint.url, time.monotonic() + seconds
    kinds: dict[str, tuple[int, Callable[[random.Random, Tally], Awaitable[None]]]] = {
        "good": (3, lambda rng, tally: ask(url, rng, tally)),
        "malformed": (4, lambda rng, tally: ask_wrongly(url, rng, tally)),
        "leaving": (2, lambda rng, tally: leave(url, rng, tally)),
        "slow": (1, lambda rng, tally: read_slowly(url, rng, tally)),
        "stream": (1, lambda rng, tally: stream(started.grpc, rng, tally)),
    }
    tallies = {kind: Tally() for kind in (*kinds, "idle stream")}
    watches = watch(started.pid)
    for one in watches:
        one.sample()

    async def keep_on(kind: str, number: int) -> None:
        rng = random.Random(f"{seed} {kind} {number}")  # noqa: S311, no secret
        while time.monotonic() < end:
            await kinds[kind][1](rng, tallies[kind])
            await asyncio.sleep(rng.random() * 0.1)

    async def sample() -> None:
        while time.monotonic() < end:
            await asyncio.sleep(0.5)
            for one in watches:
                one.sample()

    async with asyncio.TaskGroup() as group:
        group.create_task(sample())
        group.create_task(stay_idle(started.grpc, seconds - 5, tallies["idle stream"]))
        for kind, (callers, _) in kinds.items():
            for number in range(callers):
                group.create_task(keep_on(kind, number))
    await asyncio.sleep(5)  # until the server has noticed that everybody has left
    for one in watches:
        one.sample()
    return tallies, watches


def watch(pid: int) -> list[Watch]:
    """Find the engine among the server's children."""
    threads = Path(f"/proc/{pid}/task").iterdir()  # a child belongs to the thread that made it
    children = [int(p) for t in threads for p in (t / "children").read_text().split()]
    found = [child for child in children if "engine_worker" in _command(child)]
    return [Watch("server", pid), *(Watch("engine", child) for child in found)]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def saturation(seconds: float) -> dict[str, float]:
    """Measure how much of what the engine does alone is left once the server is around it.

    The maps are of 1024x512 pixels, so that there is as much to read and to write as there is in
    earnest.
    """
    size = (1024, 512)
    settings = {
        "model": bundled_model_path(), "backend": OVERLOADED, "max_batch": 8, "max_wait_s": 10,
        "result_cache_mb": 0, "buckets": "1024x512",
    }  # fmt: skip
    work = Work(size, seconds, clients=32)
    with our_server(settings, work) as started:
        load = asyncio.run(run_load(started.endpoint, work))
    ends = sorted(sample.due_s + sample.latency_s for sample in load.samples)
    steady = [end for end in ends if 2 < end < seconds]  # without the start and the end
    return {"bare_per_s": BARE_PER_S, "served_per_s": _slope(steady)}


def _slope(moments: list[float]) -> float:
    """Return how many moments there are in a second, whatever batch began or ended first."""
    return float(np.polyfit(moments, np.arange(len(moments)), 1)[0])


def overload(seconds: float) -> tuple[Result, Result]:
    """Measure the most that a server carries, then send it three times as much."""
    size = (128, 128)
    settings = {
        "model": bundled_model_path(), "backend": OVERLOADED, "max_batch": 8, "max_wait_s": 1,
        "result_cache_mb": 0, "buckets": "128x128",
    }  # fmt: skip
    work = Work(size, min(20.0, seconds), clients=32)
    with our_server(settings, work) as started:
        peak = summarise("peak", work, [asyncio.run(run_load(started.endpoint, work))])
        flood = Work(size, seconds, rate=3 * peak.goodput)
        over = summarise("overload", flood, [asyncio.run(run_load(started.endpoint, flood))])
    return peak, over


# ---- The verdict ---------------------------------------------------------------------------


def faults(tallies: dict[str, Tally], watches: list[Watch]) -> list[str]:
    """Say what must not have happened."""
    found = []
    for kind, tally in tallies.items():
        bad = {
            code: count
            for code, count in tally.counts.items()
            if code[:1] == "5" or code == "cut off" or code.endswith("Error")
        }
        if bad:
            found.append(f"{kind} requests: {bad}")
        if not tally.counts:
            found.append(f"{kind} requests: none ended")
    for one in watches:
        if one.growth_mb() > MAX_GROWTH_MB:
            found.append(f"{one.name}: memory grew by {one.growth_mb():.0f} MB")
        if (grown := one.descriptors[-1] - one.descriptors[0]) > MAX_FD_GROWTH:
            found.append(f"{one.name}: {grown} more files are open than at the start")
    return found


def overload_faults(peak: Result, over: Result) -> list[str]:
    """Say what three times the load must not have done."""
    found = []
    if over.goodput < 0.95 * peak.goodput:
        found.append(f"overload: {over.goodput:.1f}/s of {peak.goodput:.1f}/s are left")
    if over.shed_with_return < 1:
        found.append("overload: refusals without Retry-After")
    if over.failed or not over.shed:
        found.append(f"overload: {over.codes}")
    return found


def about_soak(seconds: float, tallies: dict[str, Tally], watches: list[Watch]) -> dict[str, Any]:
    """Sum up what was served and what the processes took."""
    return {
        "seconds": seconds,
        "requests": {kind: dict(tally.counts) for kind, tally in tallies.items()},
        "processes": {
            one.name: {
                "first_mb": round(one.rss_mb[0], 1),
                "last_mb": round(one.rss_mb[-1], 1),
                "growth_mb": round(one.growth_mb(), 1),
                "files_first": one.descriptors[0],
                "files_most": max(one.descriptors),
                "files_last": one.descriptors[-1],
            }
            for one in watches
        },
    }


def draw(path: Path, watches: list[Watch]) -> None:
    """Draw memory and descriptors against time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    memory, files = figure.subplots(2, 1, sharex=True)
    for one in watches:
        seconds = np.arange(len(one.rss_mb)) / 2
        memory.plot(seconds, one.rss_mb, label=one.name)
        files.plot(seconds, one.descriptors, label=one.name)
    memory.set_ylabel("resident MB")
    memory.set_ylim(bottom=0)
    memory.legend()
    files.set_ylabel("open files")
    files.set_xlabel("seconds")
    figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> int:
    """Soak; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300, help="0 = the overload alone")
    parser.add_argument("--overload-seconds", type=float, default=60, help="0 = none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="folder for soak.json and soak.svg")
    options = parser.parse_args()
    settings = {
        "model": bundled_model_path(), "backend": BACKEND, "result_cache_mb": 4,
        "buckets": "64x64,256x256", "request_timeout_s": 5,
    }  # fmt: skip
    tallies: dict[str, Tally] = {}
    watches: list[Watch] = []
    if options.seconds:
        with our_server(settings, Work((64, 64))) as started:
            tallies, watches = asyncio.run(soak(started, options.seconds, options.seed))
    found = faults(tallies, watches)
    summary: dict[str, Any] = {}
    if options.seconds:
        summary |= about_soak(options.seconds, tallies, watches)
    if options.overload_seconds:
        summary["saturation"] = saturated = saturation(max(10.0, options.overload_seconds / 3))
        if saturated["served_per_s"] < 0.95 * saturated["bare_per_s"]:
            found.append(f"saturation: {saturated}")
        peak, over = overload(options.overload_seconds)
        found += overload_faults(peak, over)
        summary["overload"] = [
            {k: v for k, v in asdict(result).items() if k not in {"latencies", "rounds"}}
            for result in (peak, over)
        ]
    print(json.dumps(summary, indent=1))  # noqa: T201, a script
    print("\n".join(found) or "nothing grew, nothing was lost")  # noqa: T201
    if options.output and options.seconds:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "soak.json").write_text(json.dumps(summary, indent=1) + "\n")
        draw(options.output / "soak.svg", watches)
    elif options.output:  # the rest stays as it was
        path = options.output / "soak.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | summary, indent=1) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
