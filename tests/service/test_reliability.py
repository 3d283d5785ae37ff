"""What is promised under load and abuse, against whole servers; docs/reliability.md has the list.

The engine is of known speed; sockets, processes and callers are real. Longer runs of the same are
in tests/soak.
"""

from __future__ import annotations

import ast
import asyncio
import random
import re
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from model.bundle import load_bundle
from service.batching import Limits
from service.bench_load import HttpTarget, multipart, open_loop, poisson_times
from service.jobs import Job, MapData
from service.pipeline import Pipeline, PipelineConfig
from tests.service.conftest import Server, png, start_server, stop_server

ROOT = Path(__file__).resolve().parents[2]
MAX_BATCH = 4


@contextmanager
def serving(folder: Path, log: Path, **settings: object) -> Iterator[Server]:
    """Run a server without a cache of results."""
    server = start_server(log, model=folder, buckets="64x64", result_cache_mb=0, **settings)
    try:
        yield server
    finally:
        stop_server(server)


def form(label: bytes) -> tuple[bytes, str]:
    """Write an upload."""
    return multipart({"label": label}, {})


def resident_mb(pid: int) -> float:
    """Return the memory that a process has."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def saturate(folder: Path, sizes: list[tuple[int, int]]) -> float:
    """Keep four times as many callers as a batch holds; return the engine's mean batch."""

    async def run() -> float:
        limits = Limits(max_batch=MAX_BATCH)
        config = PipelineConfig(
            load_bundle(folder), "fake:base_ms=100", 1, ((64, 64),), limits=limits
        )
        pipeline = Pipeline(config)
        await pipeline.start()

        async def ask(size: tuple[int, int]) -> None:
            width, height = size
            plane = MapData(bytes(width * height), "raw", "uint8", width, height)
            for _ in range(6):
                await pipeline.synthesize(Job(plane, format="raw"), {})

        callers: list[Coroutine[Any, Any, None]] = [
            ask(sizes[number % len(sizes)]) for number in range(4 * MAX_BATCH)
        ]
        await asyncio.gather(*callers)
        stats = await pipeline.stats()
        await pipeline.close()
        return stats.images / stats.runs

    return asyncio.run(run())


def test_saturated_engine_runs_full_batches(tiny_bundle: Path) -> None:
    """Decoding and encoding keep up with batches of 0.9 of the largest, of one size or of two."""
    single = saturate(tiny_bundle, [(64, 64)])
    assert single >= 0.9 * MAX_BATCH
    assert saturate(tiny_bundle, [(64, 64), (96, 80)]) >= 0.9 * single


def test_three_times_the_load_is_shed_not_lost(tiny_bundle: Path, tmp_path: Path) -> None:
    """Everybody is answered: with a photograph, or with a refusal and the time to come back."""
    settings = {"backend": "fake:base_ms=200", "max_batch": MAX_BATCH, "max_wait_s": 0.6}
    body, kind = form(png(np.ones((64, 64), np.uint8)))
    with serving(tiny_bundle, tmp_path / "log", **settings) as server:

        async def flood() -> Counter[tuple[str, bool]]:
            target = HttpTarget(f"{server.url}/v1/synthesize", [body], kind)
            load = await open_loop(target, poisson_times(60, 6))  # of 20 that it can do
            await target.close()
            return Counter((s.answer.code, s.answer.names_return) for s in load.samples)

        codes = asyncio.run(flood())
        shown = httpx.get(f"{server.metrics_url}/metrics").text
    assert set(codes) == {("200", False), ("429", True)}
    served = codes["200", False]
    # What was let in was run, once, and in full batches.
    sizes = dict(re.findall(r"hdsynth_batch_size_(sum|count)\S* (\S+)", shown))
    assert float(sizes["sum"]) == served
    assert served / float(sizes["count"]) >= 0.8 * MAX_BATCH


def test_refusal_comes_before_the_upload(tiny_bundle: Path, tmp_path: Path) -> None:
    """A server without room says so when it has seen the head of a request."""
    settings = {"backend": "fake:base_ms=1000", "max_batch": 1, "max_wait_s": 0.5}
    body, kind = form(png(np.ones((64, 64), np.uint8)))
    with serving(tiny_bundle, tmp_path / "log", **settings) as server:

        async def ask() -> bytes:
            target = HttpTarget(f"{server.url}/v1/synthesize", [body], kind)
            busy = [asyncio.create_task(target.send(0)) for _ in range(2)]
            answer = b""
            while not answer.startswith(b"HTTP/1.1 429"):  # until both have come in
                answer = await _head_only(server, kind)
            await asyncio.gather(*busy)
            await target.close()
            return answer

        answer = asyncio.run(ask())
    assert b"retry-after: " in answer.lower()


async def _head_only(server: Server, kind: str) -> bytes:
    """Announce an upload and send none of it; return what comes within a tenth of a second."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "POST /synthesize HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
    writer.write(f"{head}Content-Type: {kind}\r\n\r\n".encode())
    try:
        async with asyncio.timeout(0.1):
            return await reader.read(10_000)
    except TimeoutError:
        return b""
    finally:
        writer.close()


def test_malformed_requests_leave_nothing_behind(
    server: Server, client: httpx.Client, files: dict[str, bytes], still_serves: None
) -> None:
    """Hundreds of damaged uploads are the callers' faults, and cost no memory that stays."""
    rng = random.Random(1)  # noqa: S311, no secret
    good, kind = multipart(files, {"seed": 1})

    def broken() -> bytes:
        body = bytearray(good)
        match rng.randrange(4):
            case 0:
                for _ in range(rng.randrange(1, 40)):
                    body[rng.randrange(len(body))] = rng.randrange(256)
            case 1:
                del body[rng.randrange(len(body)) :]
            case 2:
                body = bytearray(rng.randbytes(rng.randrange(3000)))
            case _:
                place = body.find(b"IHDR")
                body[place + 4 : place + 12] = rng.randbytes(8)  # up to 2^64 pixels
        return bytes(body)

    def send(count: int) -> set[int]:
        headers = {"Content-Type": kind}
        posts = (
            client.post("/synthesize", content=broken(), headers=headers) for _ in range(count)
        )
        return {answer.status_code // 100 for answer in posts}

    send(50)
    before = resident_mb(server.process.pid)
    assert send(250) <= {2, 4}  # a flipped pixel makes no fault
    assert resident_mb(server.process.pid) < before + 64


def test_the_list_of_promises_names_tests_that_exist() -> None:
    """Every test that docs/reliability.md points to is there."""
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", text)
    assert len(named) > 15
    for file, test in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        assert test in {node.name for node in ast.walk(tree) if isinstance(node, kinds)}, test
