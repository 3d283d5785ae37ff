"""Play streams against a server and measure what comes back."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from hdsynth.v1 import synthesis_pb2 as pb
from numpy.typing import NDArray

from model.scenes import draw_scene

METHOD = "/hdsynth.v1.SynthesisService/SynthesizeStream"
STAGES = ("decode", "queue", "infer", "encode")
_SCENES = 8
"""Drawn scenes that a session shows in turn."""
_START = "from service.app import run; from service.settings import Settings; run(Settings())"


@dataclass(frozen=True)
class Load:
    """What is played."""

    sessions: int = 1
    fps: float = 30.0
    """Frames per second that each session sends."""
    seconds: float = 10.0
    size: tuple[int, int] = (1024, 512)
    """Width and height in pixels."""
    packed: bool = False
    """Whether the maps are deflated."""
    format: pb.ImageFormat = pb.IMAGE_FORMAT_JPEG


@dataclass
class Played:
    """What one session saw."""

    sent: int = 0
    bytes_in: int = 0
    """To the server."""
    bytes_out: int = 0
    ages: list[float] = field(default_factory=list)
    """Seconds from sending a frame to having its result."""
    stages: list[pb.StageSeconds] = field(default_factory=list)
    reordered: int = 0
    """Results that came after one of a later frame."""
    drops: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


async def play(address: str, load: Load, key: str | None = None) -> list[Played]:
    """Play a load against a gRPC address; one entry per session. Raises grpc.RpcError."""
    frames = _frames(load)
    options = [("grpc.max_receive_message_length", 64 << 20)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        sessions = [_Session(channel, load, frames, key) for _ in range(load.sessions)]
        await asyncio.gather(*(session.open() for session in sessions))
        return list(await asyncio.gather(*(session.play() for session in sessions)))


async def idle(address: str, seconds: float, key: str | None = None) -> float:
    """Keep a stream open without frames, with a ping every 10 s as eager clients send them.

    Returns after how many seconds it has ended, ``seconds`` at most. Raises grpc.RpcError.
    """
    options = [
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    async with grpc.aio.insecure_channel(address, options) as channel:
        session = _Session(channel, Load(), (), key)
        await session.open()
        started = time.perf_counter()
        try:
            async with asyncio.timeout(seconds):
                await session.listen()
        except TimeoutError:
            return seconds
        except grpc.RpcError:
            pass
        return time.perf_counter() - started


class _Session:
    def __init__(
        self, channel: grpc.aio.Channel, load: Load, frames: Sequence[bytes], key: str | None
    ) -> None:
        self._load, self._frames, self._played = load, frames, Played()
        self._sent: dict[int, float] = {}
        self._writing, self._has_ended = asyncio.Lock(), False  # a call takes one write at a time
        metadata = (("x-api-key", key),) if key else ()
        call: Any = channel.stream_stream(
            METHOD,
            request_serializer=bytes,  # packed once, not for every frame
            response_deserializer=pb.SynthesizeStreamResponse.FromString,
        )
        self._call = call(metadata=metadata)
        self._responses = aiter(self._call)

    async def open(self) -> None:
        """Send the config and wait until the server is ready."""
        config = pb.StreamConfig(format=self._load.format)
        await self._write(pb.SynthesizeStreamRequest(config=config).SerializeToString())
        await anext(self._responses)

    async def play(self) -> Played:
        """Send frames at the pace of the load, and take in what comes."""
        listening = asyncio.create_task(self.listen())
        started = time.perf_counter()
        for number in range(round(self._load.fps * self._load.seconds)):
            await asyncio.sleep(started + number / self._load.fps - time.perf_counter())
            self._sent[number] = time.perf_counter()
            await self._write(self._frames[number % len(self._frames)] + _numbered(number))
            self._played.sent += 1
        self._played.seconds = time.perf_counter() - started
        async with self._writing:
            self._has_ended = True
            await self._call.done_writing()
        await listening
        return self._played

    async def listen(self) -> None:
        """Take in what comes until the server ends the stream."""
        played, newest = self._played, 0
        async for response in self._responses:
            played.bytes_out += response.ByteSize()
            if response.HasField("dropped"):
                notice = response.dropped
                reason = pb.DropReason.Name(notice.reason).removeprefix("DROP_REASON_").lower()
                played.drops[reason] += notice.last_frame_id - notice.first_frame_id + 1
            elif response.HasField("result"):
                result = response.result
                played.reordered += result.frame_id < newest
                newest = max(newest, result.frame_id)
                played.ages.append(time.perf_counter() - self._sent[result.frame_id])
                played.stages.append(result.seconds)
                ack = pb.SynthesizeStreamRequest(ack=pb.Ack(frame_id=result.frame_id))
                await self._write(ack.SerializeToString())

    async def _write(self, data: bytes) -> None:
        async with self._writing:
            if not self._has_ended:
                self._played.bytes_in += len(data)
                await self._call.write(data)


def _frames(load: Load) -> list[bytes]:
    """Pack drawn scenes as frames without a number."""
    width, height = load.size
    frames = []
    for seed in range(_SCENES):
        scene = draw_scene(width, height, seed)
        frame = pb.Frame(
            label=_plane(scene.label, load.packed), instance=_plane(scene.instance, load.packed)
        )
        frames.append(pb.SynthesizeStreamRequest(frame=frame).SerializeToString())
    return frames


def _numbered(number: int) -> bytes:
    """Return what is appended to a packed frame to number it: messages merge when they meet."""
    return pb.SynthesizeStreamRequest(frame=pb.Frame(frame_id=number)).SerializeToString()


def _plane(array: NDArray[Any], packed: bool) -> pb.Map:
    types = {"uint8": pb.ELEMENT_TYPE_UINT8, "uint16": pb.ELEMENT_TYPE_UINT16}
    data = array.tobytes()
    return pb.Map(
        encoding=pb.MAP_ENCODING_RAW_ZLIB if packed else pb.MAP_ENCODING_RAW,
        element_type=types[array.dtype.name],
        width=array.shape[1],
        height=array.shape[0],
        data=zlib.compress(data, 1) if packed else data,
    )
