"""What a server carries: runs of the load generator against one or several servers by turns."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.scenes import draw_scene
from service import bench_load
from service.bench_load import Answer, GrpcTarget, HttpTarget, Load
from service.bench_server import cpu_seconds

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
BODIES = 16
"""Scenes that requests take turns with."""
QUALITY = 90
"""Of the JPEG that is asked for."""


@dataclass(frozen=True)
class Work:
    """How requests come, for how long, and what they ask for."""

    size: tuple[int, int] = (256, 256)
    """Width and height."""
    seconds: float = 10.0
    clients: int = 0
    """Closed loop of so many callers; 0 = open loop."""
    rate: float = 0.0
    """Open loop: requests a second, as independent callers send them."""
    times: tuple[float, ...] = ()
    """Open loop: seconds at which requests start, instead of a rate."""

    @property
    def name(self) -> str:
        """Say it in words."""
        if self.clients:
            return f"{self.clients} client{'s' * (self.clients > 1)}"
        return f"{len(self.times)} requests of a trace" if self.times else f"{self.rate:g}/s"


@dataclass(frozen=True)
class Endpoint:
    """A server to ask."""

    name: str
    url: str = ""
    """Of its REST face, with the path."""
    grpc: str = ""
    """Address of its gRPC face, asked instead of REST if given."""
    pid: int = 0
    """Process of a server that was started here."""
    raw: bool = False
    """Over gRPC: send maps as plain numbers instead of PNG files, as game engines do."""


Start = Callable[[], AbstractContextManager[Endpoint]]
"""Starts a server that ends with the context."""


@dataclass(frozen=True)
class Result:
    """What one server did with one kind of work, all rounds together."""

    server: str
    work: str
    sent: int
    served: int
    shed: int
    failed: int
    seconds: float
    goodput: float
    """Requests served per second."""
    latency_ms: dict[str, float]
    """Percentiles and maximum of those that were served."""
    shed_ms: dict[str, float]
    """The same of those that were refused."""
    shed_with_return: float
    """Share of those that were told when to come back; 1 without any."""
    codes: dict[str, int]
    late_p99_ms: float
    """How late the generator itself was."""
    generator_cores: float
    cpu_ms: float
    """Processor time of the server for each request served; 0 = unknown."""
    rounds: list[float] = field(default_factory=list)
    """Served per second in every round."""
    latencies: list[float] = field(default_factory=list, repr=False)
    """Milliseconds of all that were served, ascending."""


def summarise(server: str, work: Work, loads: Sequence[Load]) -> Result:
    """Count what came back and when."""
    samples = [sample for load in loads for sample in load.samples]
    seconds = sum(load.seconds for load in loads)
    by_outcome: dict[str, list[bench_load.Sample]] = {"served": [], "shed": [], "failed": []}
    for sample in samples:
        by_outcome[sample.answer.outcome].append(sample)
    served, shed = by_outcome["served"], by_outcome["shed"]
    codes: dict[str, int] = {}
    for sample in samples:
        codes[sample.answer.code] = codes.get(sample.answer.code, 0) + 1
    rounds = [
        sum(sample.answer.outcome == "served" for sample in load.samples) / load.seconds
        for load in loads
    ]
    latencies = sorted(sample.latency_s * 1000 for sample in served)
    return Result(
        server=server,
        work=work.name,
        sent=len(samples),
        served=len(served),
        shed=len(shed),
        failed=len(by_outcome["failed"]),
        seconds=seconds,
        goodput=len(served) / seconds,
        latency_ms=percentiles(latencies),
        shed_ms=percentiles([sample.latency_s * 1000 for sample in shed]),
        shed_with_return=sum(s.answer.names_return for s in shed) / len(shed) if shed else 1.0,
        codes=codes,
        late_p99_ms=float(np.percentile([s.late_s * 1000 for s in samples], 99)) if samples else 0,
        generator_cores=max(load.cores for load in loads),
        cpu_ms=1000 * sum(load.server_cpu_s for load in loads) / max(1, len(served)),
        rounds=rounds,
        latencies=latencies,
    )


def percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """Return percentiles and the maximum; nothing of nothing."""
    if not milliseconds:
        return {}
    values = np.percentile(milliseconds, PERCENTILES)
    found = {f"p{rank:g}": float(v) for rank, v in zip(PERCENTILES, values, strict=True)}
    return found | {"max": max(milliseconds)}


def measure(
    servers: Sequence[Start],
    works: Sequence[Work],
    rounds: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> list[Result]:
    """Ask every server for every kind of work, in turns; each runs only while it is asked."""
    loads: dict[tuple[str, str], list[Load]] = {}
    for number in range(rounds):
        turn = number % len(servers)
        for start in (*servers[turn:], *servers[:turn]):
            with start() as endpoint:
                for work in works:
                    # Every round has other arrivals, the same for all servers.
                    before = cpu_seconds(endpoint.pid) if endpoint.pid else 0.0
                    load = asyncio.run(run_load(endpoint, work, seed=number))
                    if endpoint.pid:
                        load = replace(load, server_cpu_s=cpu_seconds(endpoint.pid) - before)
                    loads.setdefault((work.name, endpoint.name), []).append(load)
                    one = summarise(endpoint.name, work, [load])
                    tail = one.latency_ms.get("p99", 0.0)
                    say(f"{one.server}, {one.work}: {one.goodput:.1f}/s, p99 {tail:.0f} ms")
    by_name = {work.name: work for work in works}
    keys = sorted(loads, key=lambda key: [*by_name].index(key[0]))  # stable: servers in order
    return [summarise(server, by_name[work], loads[work, server]) for work, server in keys]


async def run_load(endpoint: Endpoint, work: Work, seed: int = 0) -> Load:
    """Send one run's requests."""
    target = _target(endpoint, work.size)
    try:
        if work.clients:
            return await bench_load.closed_loop(target, work.clients, work.seconds)
        times = work.times or bench_load.poisson_times(work.rate, work.seconds, seed)
        return await bench_load.open_loop(target, times)
    finally:
        await target.close()


def run_once(endpoint: Endpoint, work: Work) -> Answer:
    """Send one request."""

    async def ask() -> Answer:
        target = _target(endpoint, work.size)
        try:
            return await target.send(0)
        finally:
            await target.close()

    return asyncio.run(ask())


def _target(endpoint: Endpoint, size: tuple[int, int]) -> HttpTarget | GrpcTarget:
    scenes = [draw_scene(*size, seed=seed) for seed in range(BODIES)]
    maps = [{"label": scene.label, "instance": scene.instance} for scene in scenes]
    if not endpoint.grpc:
        forms = [{name: png_file(plane) for name, plane in each.items()} for each in maps]
        written = [bench_load.multipart(form, {"quality": QUALITY}) for form in forms]
        return HttpTarget(endpoint.url, [body for body, _ in written], written[0][1])
    from hdsynth.v1 import synthesis_pb2 as pb

    def message(plane: NDArray[np.integer]) -> pb.Map:
        if not endpoint.raw:
            return pb.Map(data=png_file(plane))
        kinds = {"uint8": pb.ELEMENT_TYPE_UINT8, "uint16": pb.ELEMENT_TYPE_UINT16}
        return pb.Map(
            encoding=pb.MAP_ENCODING_RAW,
            element_type=kinds[plane.dtype.name],
            width=plane.shape[1],
            height=plane.shape[0],
            data=plane.tobytes(),
        )

    messages = [
        pb.SynthesizeRequest(
            label=message(each["label"]),
            instance=message(each["instance"]),
            format=pb.IMAGE_FORMAT_JPEG,
            quality=QUALITY,
        ).SerializeToString()
        for each in maps
    ]
    return GrpcTarget(endpoint.grpc, messages)


def png_file(plane: NDArray[np.integer]) -> bytes:
    """Write a map as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(plane).save(stream, "PNG")
    return stream.getvalue()
