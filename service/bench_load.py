"""A load generator that is light enough to share a machine with the server that it measures.

Requests are written once and sent as bytes: over bare HTTP/1.1 connections, or through a gRPC
channel without serialisers. In an open loop requests start at given times, whether earlier ones
have been answered or not, and latency counts from that time, so that a server that stalls cannot
hide it (Tene's "coordinated omission"). In a closed loop every client waits for its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import numpy as np

Outcome = Literal["served", "shed", "failed"]
_BOUNDARY = uuid.uuid4().hex
_HEADER = re.compile(rb"\r\n(content-length|retry-after|connection): *([^\r]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended."""

    outcome: Outcome
    code: str
    """HTTP status or gRPC code, or the name of the exception."""
    names_return: bool = False
    """Whether the server said when to come back."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request."""

    due_s: float
    """When it was to start, in seconds after the run's start."""
    late_s: float
    """How much later it did: the generator's own fault."""
    latency_s: float
    """From when it was to start to the last byte of the answer."""
    answer: Answer


@dataclass(frozen=True)
class Load:
    """What a run sent and what came back."""

    samples: list[Sample]
    seconds: float
    """From the start to the last photograph."""
    cores: float
    """Processor cores that the generator itself kept busy."""
    server_cpu_s: float = 0.0
    """Processor time of the server meanwhile; 0 = unknown."""


class Target(Protocol):
    """A server that takes requests."""

    async def send(self, number: int) -> Answer:
        """Send one of the prepared requests and wait for the answer."""


# ---- Over REST -----------------------------------------------------------------------------


class HttpTarget:
    """Sends prepared bodies over as many connections as there are requests at once."""

    def __init__(
        self, url: str, bodies: Sequence[bytes], media_type: str, accept: str = "image/jpeg"
    ) -> None:
        """``url`` includes the path."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url}: the generator speaks http://HOST:PORT/PATH only")
        self._address = parts.hostname, parts.port or 80
        head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: {accept}\r\n"
            f"Content-Type: {media_type}\r\nContent-Length: "
        ).encode()
        self._requests = [head + b"%d\r\n\r\n" % len(body) + body for body in bodies]
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, number: int) -> Answer:
        """Send one of the bodies; reads the whole answer."""
        request = self._requests[number % len(self._requests)]
        try:
            while self._free:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    return await self._exchange(*self._free.pop(), request)  # may have been closed
            connection = await asyncio.open_connection(*self._address, limit=1 << 20)
            return await self._exchange(*connection, request)
        except (OSError, asyncio.IncompleteReadError) as error:
            return Answer("failed", type(error).__name__)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> Answer:
        done = False
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            headers = {name.lower(): value for name, value in _HEADER.findall(head)}
            if b"content-length" not in headers:
                raise ConnectionError("the answer has no Content-Length")
            await reader.readexactly(int(headers[b"content-length"]))
            done = headers.get(b"connection", b"").lower() != b"close"
        finally:
            if done:
                self._free.append((reader, writer))
            else:
                writer.close()
        status = head[9:12].decode()
        outcome: Outcome = "failed"
        if status == "200":
            outcome = "served"
        elif status in {"429", "503"}:
            outcome = "shed"
        return Answer(outcome, status, b"retry-after" in headers)

    async def close(self) -> None:
        """Close all connections."""
        for _, writer in self._free:
            writer.close()
        self._free.clear()


def multipart(parts: dict[str, bytes], options: dict[str, Any]) -> tuple[bytes, str]:
    """Write a form of files and an ``options`` field; returns the body and its media type."""
    line = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name="
    kind = "Content-Type: application/octet-stream"
    body = [
        f'{line}"{name}"; filename="{name}"\r\n{kind}\r\n\r\n'.encode() + data + b"\r\n"
        for name, data in parts.items()
    ]
    if options:
        body.append(f'{line}"options"\r\n\r\n{json.dumps(options)}\r\n'.encode())
    end = f"--{_BOUNDARY}--\r\n".encode()
    return b"".join([*body, end]), f"multipart/form-data; boundary={_BOUNDARY}"


# ---- Over gRPC -----------------------------------------------------------------------------


class GrpcTarget:
    """Sends prepared messages over one channel. Made inside an event loop."""

    def __init__(self, address: str, messages: Sequence[bytes]) -> None:
        import grpc.aio

        options = [("grpc.max_receive_message_length", -1)]
        channel: Any = grpc.aio.insecure_channel(address, options)
        self._channel = channel
        self._call = channel.unary_unary("/hdsynth.v1.SynthesisService/Synthesize")
        self._messages, self._error = messages, grpc.RpcError

    async def send(self, number: int) -> Answer:
        """Send one of the messages."""
        try:
            await self._call(self._messages[number % len(self._messages)])
        except self._error as error:
            failed: Any = error
            code = failed.code().name
            details = dict(failed.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            is_shed = code in {"RESOURCE_EXHAUSTED", "UNAVAILABLE"} and details
            return Answer("shed" if is_shed else "failed", code, b"RetryInfo" in details)
        return Answer("served", "OK")

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


# ---- When requests start -------------------------------------------------------------------


def poisson_times(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """Draw the times at which independent callers come, ``rate`` a second in the mean."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds * 1.5) + 50)
    times = np.cumsum(gaps)
    return [float(time) for time in times[times < seconds]]


def trace_times(path: Path) -> list[float]:
    """Read one time in seconds per line; the first becomes 0. Raises ValueError naming the line."""
    times = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            times.append(float(line.split(",")[0]))
        except ValueError:
            raise ValueError(f"{path}:{number}: {line[:60]!r} is no time in seconds") from None
    if not times:
        raise ValueError(f"{path}: holds no times; write one in seconds per line")
    return [time - min(times) for time in sorted(times)]


async def open_loop(target: Target, times: Sequence[float]) -> Load:
    """Start requests at given seconds after now; returns when all have been answered."""
    samples: list[Sample] = []
    started, worked = perf_counter(), process_time()

    async def ask(number: int, due: float) -> None:
        late = perf_counter() - started - due
        answer = await target.send(number)
        samples.append(Sample(due, late, perf_counter() - started - due, answer))

    async with asyncio.TaskGroup() as group:
        for number, due in enumerate(times):
            if (wait := started + due - perf_counter()) > 0:
                await asyncio.sleep(wait)
            group.create_task(ask(number, due))
    return _load(samples, started, worked)


async def closed_loop(target: Target, clients: int, seconds: float) -> Load:
    """Let clients ask one request after the other for a time."""
    samples: list[Sample] = []
    numbers = itertools.count()
    started, worked = perf_counter(), process_time()

    async def ask() -> None:
        while (due := perf_counter() - started) < seconds:
            answer = await target.send(next(numbers))
            samples.append(Sample(due, 0.0, perf_counter() - started - due, answer))
            if answer.outcome != "served":
                await asyncio.sleep(0.01)  # whoever refuses, or is gone, answers at once

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(ask())
    return _load(samples, started, worked)


def _load(samples: list[Sample], started: float, worked: float) -> Load:
    seconds = perf_counter() - started
    cores = (process_time() - worked) / seconds
    # A request that is lost, and fails when the server's or our patience ends, is counted as such;
    # it must not stretch the time in which all others were served.
    served = [s.due_s + s.latency_s for s in samples if s.answer.outcome == "served"]
    return Load(samples, max(served, default=seconds), cores)
