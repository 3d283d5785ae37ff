"""Clients of a stream over both faces, with one interface, and the messages that they send."""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from hdsynth.v1 import synthesis_pb2 as pb
from hdsynth.v1 import synthesis_pb2_grpc
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from model.scenes import Scene
from tests.service.conftest import Server

Response = pb.SynthesizeStreamResponse
_TYPES = {
    "uint8": pb.ELEMENT_TYPE_UINT8,
    "uint16": pb.ELEMENT_TYPE_UINT16,
    "int32": pb.ELEMENT_TYPE_INT32,
}


class Stream:
    """An open stream: what is sent goes out at once, what comes in waits to be received."""

    def __init__(self, send: Callable[[pb.SynthesizeStreamRequest], None]) -> None:
        self._send = send
        self.end: Callable[[], None] = lambda: None
        """Sends no more, where the face can tell that."""
        self.incoming: queue.Queue[Response | None] = queue.Queue()
        self.error: Exception | None = None

    def send(self, **message: Any) -> None:
        """Send a message, given as the field of the request: ``send(frame=...)``."""
        self._send(pb.SynthesizeStreamRequest(**message))

    def receive(self, timeout: float = 30) -> Response | None:
        """Wait for the next message but heartbeats and pacing; None = the stream has ended."""
        while (message := self.incoming.get(timeout=timeout)) is not None:
            if message.WhichOneof("message") not in {"pacing", "heartbeat"}:
                return message
        return None

    def result(self) -> pb.FrameResult:
        """Wait for a result, acknowledge and return it."""
        message = self.receive()
        assert message is not None
        assert message.HasField("result"), message
        self.send(ack=pb.Ack(frame_id=message.result.frame_id))
        return message.result

    def dropped(self) -> pb.FrameDropped:
        """Wait for a drop notice."""
        message = self.receive()
        assert message is not None
        assert message.HasField("dropped"), message
        return message.dropped


@contextmanager
def grpc_stream(
    server: Server, options: list[tuple[str, Any]] | None = None, **config: Any
) -> Iterator[Stream]:
    """Open a stream over gRPC and send its config."""
    outgoing: queue.Queue[pb.SynthesizeStreamRequest | None] = queue.Queue()
    with grpc.insecure_channel(server.grpc_address, options or []) as channel:
        stub = synthesis_pb2_grpc.SynthesisServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.SynthesizeStream(iter(outgoing.get, None))
        stream = Stream(outgoing.put)
        stream.end = lambda: outgoing.put(None)
        reader = _read_into(stream, call, grpc.RpcError)
        stream.send(config=pb.StreamConfig(**config))
        try:
            yield stream
        finally:
            call.cancel()
            outgoing.put(None)
            reader.join()


@contextmanager
def websocket_stream(server: Server, key: str = "", **config: Any) -> Iterator[Stream]:
    """Open a stream over WebSocket and send its config."""
    address = server.url.replace("http", "ws", 1) + "/v1/stream"
    protocols: list[Any] = ["hdsynth.v1", *([f"hdsynth.key.{key}"] if key else [])]
    with connect(address, subprotocols=protocols, max_size=None) as socket:
        assert socket.subprotocol == "hdsynth.v1"
        stream = Stream(lambda request: socket.send(request.SerializeToString()))
        messages = (Response.FromString(data) for data in socket if isinstance(data, bytes))
        reader = _read_into(stream, messages, ConnectionClosed)
        stream.send(config=pb.StreamConfig(**config))
        try:
            yield stream
        finally:
            socket.close()
            reader.join()


def _read_into(
    stream: Stream, messages: Iterator[Response], ends: type[Exception]
) -> threading.Thread:
    def read() -> None:
        try:
            for message in messages:
                stream.incoming.put(message)
        except ends as error:
            stream.error = error
        finally:
            stream.incoming.put(None)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def plane(array: NDArray[Any], *, packed: bool = False) -> pb.Map:
    """Write a map as a raw plane."""
    data = array.tobytes()
    return pb.Map(
        encoding=pb.MAP_ENCODING_RAW_ZLIB if packed else pb.MAP_ENCODING_RAW,
        element_type=_TYPES[array.dtype.name],
        width=array.shape[1],
        height=array.shape[0],
        data=zlib.compress(data, 1) if packed else data,
    )


def tile(array: NDArray[Any], x: int, y: int, width: int, height: int) -> pb.MapTile:
    """Write a part of a map as a tile."""
    return pb.MapTile(x=x, y=y, map=plane(array[y : y + height, x : x + width]))


def frame(frame_id: int, scene: Scene, **fields: Any) -> pb.Frame:
    """Write a frame with the whole maps of a scene."""
    label, instance = plane(scene.label), plane(scene.instance)
    return pb.Frame(frame_id=frame_id, label=label, instance=instance, **fields)


def photo(result: pb.FrameResult) -> NDArray[np.uint8]:
    """Return the pixels of a RAW photograph."""
    shape = (result.photo.height, result.photo.width, 3)
    return np.frombuffer(result.photo.data, np.uint8).reshape(shape)
