from __future__ import annotations

import asyncio
import io
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hdsynth_client
import numpy as np
import pytest
from hdsynth_client import (
    AsyncClient,
    AsyncGrpcClient,
    Between,
    Client,
    ConnectionFailedError,
    GrpcClient,
    Photo,
    Retry,
    ServiceError,
    Styles,
)
from PIL import Image

from model.scenes import Scene, draw_scene
from tests.service.conftest import Server, png, start_server, stop_server

ONCE = Retry(attempts=1)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A small street scene."""
    return draw_scene(96, 80, seed=1)


@pytest.fixture(params=["rest", "grpc"])
def client(request: pytest.FixtureRequest, tiny_server: Server) -> Iterator[Client | GrpcClient]:
    """Either client of a server; both have the same methods."""
    with open_client(tiny_server, request.param) as client:
        yield client


def open_client(server: Server, face: str, retry: Retry | None = None) -> Client | GrpcClient:
    """Make a client of a server."""
    if face == "rest":
        return Client(server.url, retry=retry)
    return GrpcClient(server.grpc_address, retry=retry)


def test_both_faces_give_the_same_photograph(tiny_server: Server, scene: Scene) -> None:
    """Arrays and PNG files, over REST and gRPC, with and without await: the same pixels."""
    label, instance = png(scene.label), png(scene.instance)
    with Client(tiny_server.url) as rest, GrpcClient(tiny_server.grpc_address) as grpc:
        photos = [
            client.synthesize(*maps, seed=3)
            for client in (rest, grpc)
            for maps in ((scene.label, scene.instance), (label, instance))
        ]

    async def ask() -> None:
        async with (
            AsyncClient(tiny_server.url) as rest,
            AsyncGrpcClient(tiny_server.grpc_address) as grpc,
        ):
            photos.append(await rest.synthesize(scene.label, scene.instance, seed=3))
            photos.append(await grpc.synthesize(scene.label, scene.instance, seed=3))
            assert await rest.models() == await grpc.models()

    asyncio.run(ask())
    assert len({photo.data for photo in photos}) == 1
    assert Image.open(io.BytesIO(photos[0].data)).size == (96, 80)


def test_style_from_a_photograph(tiny_server: Server, scene: Scene) -> None:
    """Objects take their styles from a photograph, over both faces, but for those named."""
    colours = np.random.default_rng(1).integers(0, 256, (*scene.label.shape, 3)).astype(np.uint8)
    maps, photo = (scene.label, scene.instance), png(colours)

    async def ask() -> list[Photo]:
        async with (
            AsyncClient(tiny_server.url) as rest,
            AsyncGrpcClient(tiny_server.grpc_address) as grpc,
        ):
            return [await each.synthesize(*maps, style_photo=photo) for each in (rest, grpc)]

    photos = asyncio.run(ask())
    with Client(tiny_server.url) as rest, GrpcClient(tiny_server.grpc_address) as grpc:
        photos += [each.synthesize(*maps, style_photo=photo) for each in (rest, grpc)]
        chosen = Styles(classes={10: 1})
        named = [each.synthesize(*maps, chosen, style_photo=photo) for each in (rest, grpc)]
        plain = rest.synthesize(*maps)
    assert len({photo.data for photo in photos}) == 1
    assert len({photos[0].data, plain.data, named[0].data}) == 3
    assert named[0].data == named[1].data


def test_pixels_without_a_file(client: Client | GrpcClient, scene: Scene) -> None:
    """RAW is an array of the label map's size; the stages' times and the version come along."""
    raw = client.synthesize(scene.label, scene.instance, format="raw")
    file = client.synthesize(scene.label, scene.instance)
    assert raw.pixels.shape == (80, 96, 3)
    assert np.array_equal(raw.pixels, np.asarray(Image.open(io.BytesIO(file.data))))
    assert raw.model_version
    assert set(raw.seconds) >= {"decode", "queue", "infer", "encode"}
    with pytest.raises(ValueError, match="format='raw'"):
        _ = file.pixels


def test_styles_mean_the_same_over_both_faces(tiny_server: Server, scene: Scene) -> None:
    """Clusters, codes and places between, for instances and classes."""
    some = int(scene.instance.max())
    channels = 3
    styles = Styles(
        seed=1,
        instances={some: (0.5,) * channels},
        classes={3: 0, 10: Between(0, (0.1,) * channels, 0.5)},
    )
    with Client(tiny_server.url) as rest, GrpcClient(tiny_server.grpc_address) as grpc:
        channels_known = rest.models()[0].style_channels
        assert channels_known == channels
        given = [c.synthesize(scene.label, scene.instance, styles).data for c in (rest, grpc)]
        plain = rest.synthesize(scene.label, scene.instance, seed=1).data
    assert given[0] == given[1] != plain


def test_maps_in_any_integer_type(client: Client | GrpcClient, scene: Scene) -> None:
    """Ids are sent in the smallest type of the wire that holds them."""
    expected = client.synthesize(scene.label, scene.instance).data
    for kind in ("int64", ">i4", "uint16"):
        wide = scene.label.astype(kind), scene.instance.astype(kind)
        assert client.synthesize(*wide).data == expected
    for bad in (scene.label.astype(float), scene.label[0], scene.label[:0]):
        with pytest.raises(ValueError, match="label: shape"):
            client.synthesize(bad)
    with pytest.raises(ValueError, match="32 bits"):
        client.synthesize(scene.label.astype(np.int64) << 40)


def test_faults_are_typed_and_not_repeated(client: Client | GrpcClient, scene: Scene) -> None:
    """The reason is the server's, on both faces; a fault of the caller is told at once."""
    for maps, reason in (
        ((scene.label + np.uint8(100), None), "LABEL_OUT_OF_RANGE"),
        ((scene.label, scene.instance[:40]), "SIZE_MISMATCH"),
        ((b"no image", None), "UNSUPPORTED_FORMAT"),
    ):
        with pytest.raises(ServiceError) as caught:
            client.synthesize(*maps)
        assert caught.value.reason == reason
        assert caught.value.detail
        assert caught.value.request_id
        assert not caught.value.retryable
    with pytest.raises(ServiceError, match="MODEL_NOT_FOUND"):
        client.synthesize(scene.label, model="nonesuch")


@pytest.mark.parametrize("face", ["rest", "grpc"])
def test_shed_request_comes_back_when_told(tight_server: Server, face: str) -> None:
    """A burst of callers is served in the end, none of them before the time that it was told."""
    label = np.ones((64, 64), np.uint8)

    def ask(seed: int) -> float:
        with open_client(tight_server, face, retry=Retry(attempts=20)) as client:
            started = time.monotonic()
            client.synthesize(label, seed=seed)
            return time.monotonic() - started

    with ThreadPoolExecutor(6) as callers:
        seconds = list(callers.map(ask, range(6)))
    # The server's time to come back is a whole second over REST, and more than 0.1 s over gRPC.
    assert max(seconds) >= (1.0 if face == "rest" else 0.1)


@pytest.mark.parametrize("face", ["rest", "grpc"])
def test_refusal_names_the_time_to_come_back(tight_server: Server, face: str) -> None:
    """Who does not want to wait learns why and how long it would take."""
    label = np.ones((64, 64), np.uint8)

    def ask(seed: int) -> ServiceError | None:
        with open_client(tight_server, face, retry=ONCE) as client:
            try:
                client.synthesize(label, seed=seed)
            except ServiceError as error:
                return error
            return None

    with ThreadPoolExecutor(10) as callers:
        refused = [error for error in callers.map(ask, range(10)) if error]
    assert refused
    for error in refused:
        assert (error.reason, error.retryable) == ("QUEUE_FULL", True)
        assert error.retry_after_s is not None
        assert error.retry_after_s > 0


def test_retry_waits_at_least_as_told() -> None:
    """Never before the time that the server named, never beyond the whole time, else doubling."""
    retry = Retry(attempts=3, total_s=10, base_s=0.1)
    busy = ServiceError("QUEUE_FULL", "", retry_after_s=2.0, retryable=True)
    pauses = [retry.pause(busy, 1, 0.0) for _ in range(100)]
    assert all(pause is not None and 2.0 <= pause <= 2.5 for pause in pauses)
    assert retry.pause(busy, 3, 0.0) is None
    assert retry.pause(busy, 1, 8.5) is None
    assert retry.pause(ServiceError("INVALID_FIELD", ""), 1, 0.0) is None
    gone = ConnectionFailedError("")
    second = retry.pause(gone, 2, 0.0)
    assert second is not None
    assert 0.2 <= second <= 0.25


@pytest.mark.parametrize("face", ["rest", "grpc"])
def test_no_server_is_a_failed_connection(face: str) -> None:
    """It is tried again, then told as what it is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    retry = Retry(attempts=2, base_s=0.01)
    made: Client | GrpcClient = (
        Client(f"http://127.0.0.1:{port}", retry=retry)
        if face == "rest"
        else GrpcClient(f"127.0.0.1:{port}", retry=retry)
    )
    with made, pytest.raises(ConnectionFailedError):
        made.synthesize(np.ones((64, 64), np.uint8))


@pytest.mark.parametrize("face", ["rest", "grpc"])
def test_deadline_is_told_as_such(tiny_bundle: Path, tmp_path: Path, face: str) -> None:
    """A request whose time is over ends with the same reason over both faces."""
    server = start_server(
        tmp_path / "log", model=tiny_bundle, buckets="64x64", backend="fake:base_ms=400"
    )
    try:
        with (
            open_client(server, face, retry=ONCE) as client,
            pytest.raises(ServiceError) as caught,
        ):
            client.synthesize(np.ones((64, 64), np.uint8), deadline_s=0.1)
        assert caught.value.reason == "DEADLINE_EXCEEDED"
    finally:
        stop_server(server)


@pytest.mark.parametrize("face", ["rest", "grpc"])
def test_key_lets_in(tiny_bundle: Path, tmp_path: Path, face: str) -> None:
    """With its key a client is served; without it learns that one is needed."""
    from service.auth import new_key

    key, line = new_key("tests")
    (tmp_path / "keys").write_text(line + "\n")
    server = start_server(
        tmp_path / "log",
        model=tiny_bundle,
        buckets="64x64",
        backend="fake:",
        api_keys_file=tmp_path / "keys",
    )
    try:
        label = np.ones((64, 64), np.uint8)
        kind = Client if face == "rest" else GrpcClient
        address = server.url if face == "rest" else server.grpc_address
        with kind(address, key) as client:
            assert client.synthesize(label).data
        with kind(address, retry=ONCE) as client, pytest.raises(ServiceError) as caught:
            client.synthesize(label)
        assert caught.value.reason == "UNAUTHENTICATED"
    finally:
        stop_server(server)


def test_names_are_there() -> None:
    """Everything that the package promises can be imported from it."""
    for name in hdsynth_client.__all__:
        assert getattr(hdsynth_client, name)
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = hdsynth_client.nonesuch


def test_messages_are_the_servers() -> None:
    """The client's copy of the messages is the one that proto/generate.sh wrote."""
    for suffix in (".py", ".pyi"):
        theirs = ROOT / "proto" / "hdsynth" / "v1" / f"synthesis_pb2{suffix}"
        ours = ROOT / "clients/python/hdsynth_client/_wire" / f"synthesis_pb2{suffix}"
        assert ours.read_text() == theirs.read_text()
