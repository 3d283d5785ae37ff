"""Ask a running server for a photograph, as a client would, and look at what comes back."""

from __future__ import annotations

import io
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import grpc
import numpy as np
from hdsynth.v1 import synthesis_pb2 as pb
from hdsynth.v1 import synthesis_pb2_grpc
from numpy.typing import NDArray
from PIL import Image

from model.scenes import CLASSES, draw_scene

WIDTH, HEIGHT = 256, 128
TIMEOUT_S = 60.0
FLAT = 1.0
"""Standard deviation in grey levels up to which a photograph shows nothing."""


class CheckError(RuntimeError):
    """The server did not answer as it should; the message says what it did."""


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    model: str
    announced: str
    """The version that the model is listed with."""
    version: str
    """The version that the photograph comes from."""
    photo: bytes


def check(face: str, address: str, ca: Path | None, key: str | None) -> str:
    """Check ``rest``, ``grpc`` or ``stream``; returns one line that tells what was found.

    ``address`` is a URL for REST, else HOST:PORT, over TLS if there is a ``ca`` (PEM file).
    Raises CheckError, and OSError if the file cannot be read.
    """
    asks: dict[str, Callable[..., Answer]] = {"rest": _rest, "grpc": _grpc, "stream": _stream}
    started = perf_counter()
    try:
        answer = asks[face](address, ca, key)
    except grpc.RpcError as error:
        call: Any = error
        raise CheckError(f"{address}: {call.code().name}: {call.details()}") from error
    spread = _spread(answer.photo, address)
    if answer.version != answer.announced:
        raise CheckError(
            f"{address}: the photograph is from version {answer.version!r}, but the model is "
            f"listed as {answer.announced!r}"
        )
    return (
        f"{face} {address}: {answer.model} {answer.version} made {WIDTH}x{HEIGHT} pixels, "
        f"spread {spread:.0f} grey levels, in {perf_counter() - started:.2f} s"
    )


def label_map(classes: Sequence[str]) -> bytes:
    """Draw what a model with these classes starts from, as a PNG file.

    A street scene if the classes are those of the sample scenes, else blocks of random classes;
    a picture of colours for a model without classes.
    """
    if tuple(classes) == CLASSES:
        return _png(draw_scene(WIDTH, HEIGHT, seed=0).label)
    random = np.random.default_rng(0)
    blocks = (HEIGHT // 16, WIDTH // 16)
    if classes:
        small = random.integers(0, len(classes), blocks)
        kind = np.dtype(np.uint8 if len(classes) <= 256 else np.uint16)
    else:
        small, kind = random.integers(0, 256, (*blocks, 3)), np.dtype(np.uint8)
    return _png(small.astype(kind).repeat(16, axis=0).repeat(16, axis=1))


def _png(array: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def _spread(photo: bytes, address: str) -> float:
    """Return the standard deviation of a photograph's values. Raises CheckError."""
    try:
        pixels = np.asarray(Image.open(io.BytesIO(photo)))
    except OSError as error:
        raise CheckError(f"{address}: the answer is no photograph: {photo[:60]!r}") from error
    if pixels.shape != (HEIGHT, WIDTH, 3):
        raise CheckError(f"{address}: the photograph's shape is {pixels.shape}")
    spread = float(pixels.std())
    if spread <= FLAT:
        raise CheckError(f"{address}: the photograph is flat: {spread:.2f} grey levels of spread")
    return spread


# ---- REST ------------------------------------------------------------------------------------


def _rest(address: str, ca: Path | None, key: str | None) -> Answer:
    if not address.startswith(("http://", "https://")):
        raise CheckError(f"{address}: is no address for REST; write http://HOST:PORT")
    context = ssl.create_default_context(cafile=ca) if address.startswith("https:") else None
    base, headers = address.rstrip("/"), {"X-API-Key": key} if key else {}

    def ask(path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        request = urllib.request.Request(f"{base}{path}", body, headers | {"Content-Type": kind})  # noqa: S310, checked
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context)  # noqa: S310
        except urllib.error.HTTPError as error:
            words = error.read(2000).decode("utf-8", "replace")
            raise CheckError(f"{base}{path}: {error.code} {words}") from error
        except OSError as error:
            raise CheckError(f"{base}{path}: {error}") from error

    with ask("/v1/models") as response:
        model = json.load(response)["models"][0]
    label = label_map([entry["name"] for entry in model["classes"]])
    body, kind = _form(label)
    with ask(f"/v1/models/{quote(model['name'])}:synthesize", body, kind) as response:
        version = response.headers["X-Model-Version"]
        return Answer(model["name"], model["version"], version, response.read())


def _form(label: bytes) -> tuple[bytes, str]:
    boundary = uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="label"; filename="label.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    body = head.encode() + label + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


# ---- gRPC ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Calls:
    """The calls of a server, each with the key."""

    stub: Any
    options: dict[str, Any]

    def model(self) -> pb.Model:
        """Describe the default model."""
        answer: pb.GetModelResponse = self.stub.GetModel(pb.GetModelRequest(), **self.options)
        return answer.model


def _calls(channel: grpc.Channel, key: str | None) -> _Calls:
    stub = synthesis_pb2_grpc.SynthesisServiceStub(channel)  # type: ignore[no-untyped-call]
    metadata = [("x-api-key", key)] if key else []
    return _Calls(stub, {"metadata": metadata, "timeout": TIMEOUT_S})


def _channel(address: str, ca: Path | None) -> grpc.Channel:
    if ca is None:
        return grpc.insecure_channel(address)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca.read_bytes()))


def _map_of(model: pb.Model) -> pb.Map:
    return pb.Map(data=label_map([entry.name for entry in model.classes]))


def _grpc(address: str, ca: Path | None, key: str | None) -> Answer:
    with _channel(address, ca) as channel:
        calls = _calls(channel, key)
        model = calls.model()
        request = pb.SynthesizeRequest(model=model.name, label=_map_of(model))
        answer = calls.stub.Synthesize(request, **calls.options)
    return Answer(model.name, model.version, answer.model_version, answer.photo.data)


def _stream(address: str, ca: Path | None, key: str | None) -> Answer:
    with _channel(address, ca) as channel:
        calls = _calls(channel, key)
        model, shown = calls.model(), Event()

        def requests() -> Iterator[pb.SynthesizeStreamRequest]:
            yield pb.SynthesizeStreamRequest(config=pb.StreamConfig(model=model.name))
            frame = pb.Frame(frame_id=1, label=_map_of(model))
            yield pb.SynthesizeStreamRequest(frame=frame)
            shown.wait(TIMEOUT_S)
            yield pb.SynthesizeStreamRequest(ack=pb.Ack(frame_id=1))

        answers = calls.stub.SynthesizeStream(requests(), **calls.options)
        try:
            version, photo = _first_result(answers, address)
        finally:
            shown.set()
        for _ in answers:  # until the server has ended the stream, too
            pass
    return Answer(model.name, model.version, version, photo)


def _first_result(
    answers: Iterator[pb.SynthesizeStreamResponse], address: str
) -> tuple[str, bytes]:
    version = ""
    for answer in answers:
        match answer.WhichOneof("message"):
            case "ready":
                version = answer.ready.model_version
            case "result":
                return version, answer.result.photo.data
            case "dropped":
                reason = pb.DropReason.Name(answer.dropped.reason)
                words = answer.dropped.error.message
                raise CheckError(f"{address}: the frame was dropped: {reason} {words}".rstrip())
            case "go_away":
                raise CheckError(f"{address}: the server is about to stop")
    raise CheckError(f"{address}: the stream ended without a photograph")
