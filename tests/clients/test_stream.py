import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from model.scenes import Scene, draw_scene
from service.bench_server import local_server
from tests.clients.conftest import PACKAGE  # noqa: F401, puts the client on the path
from tests.service.conftest import Server, start_server, stop_server

if TYPE_CHECKING:
    from hdsynth_client.stream import Stream


@pytest.fixture(scope="module")
def fake(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose photographs show label and instance of their frame, ten a second."""
    log = tmp_path_factory.mktemp("stream") / "log"
    backend = "fake:base_ms=100"
    server = start_server(log, model=tiny_bundle, buckets="192x128", backend=backend)
    yield server
    stop_server(server)


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A street."""
    return draw_scene(192, 128, 3)


@pytest.fixture
def stream(fake: Server) -> Iterator["Stream"]:
    """A stream of raw photographs in which all frames come back."""
    from hdsynth_client.stream import open_stream
    from hdsynth_client.stream_config import StreamConfig

    config = StreamConfig(format="raw", delivery="ordered")
    with open_stream(fake.grpc_address, config) as opened:
        yield opened


def changed(scene: Scene, x: int, y: int) -> Scene:
    """Return a scene with a car more."""
    label, instance = scene.label.copy(), scene.instance.copy()
    label[y : y + 20, x : x + 30] = 2
    instance[y : y + 20, x : x + 30] = 2999
    return Scene(label, instance)


def test_frames_that_travel_as_tiles_arrive_whole(stream: "Stream", scene: Scene) -> None:
    """Whatever changes from frame to frame, the photograph is of the frame that was sent."""
    from hdsynth_client.stream_events import Result

    scenes = [scene, changed(scene, 5, 100), changed(scene, 160, 60), changed(scene, 160, 60)]
    events = list(stream.pump(((s.label, s.instance) for s in scenes), fps=20))
    results = [event for event in events if isinstance(event, Result)]

    assert [result.frame_id for result in results] == [0, 1, 2, 3]
    for result, sent in zip(results, scenes, strict=True):
        assert (result.photo.pixels[..., 0] == sent.label).all()
        assert (result.photo.pixels[..., 1] == (sent.instance & 255)).all()


def test_a_small_change_travels_as_tiles(scene: Scene) -> None:
    """A map that hardly changed is sent in part, one that did not is not sent at all."""
    from hdsynth_client.stream_maps import SIDE, MapSender

    sender, after = MapSender("label"), changed(scene, 5, 100).label
    whole, tiles = sender.pack(scene.label)
    assert whole is not None
    assert not tiles

    whole, tiles = sender.pack(after)
    assert whole is None
    assert [(tile.x, tile.y, tile.map.width, tile.map.height) for tile in tiles] == [
        (0, SIDE, SIDE, 128 - SIDE)
    ]
    assert sender.pack(after) == (None, [])

    sender.forget()
    assert sender.pack(after)[0] is not None


def test_another_scene_travels_whole(scene: Scene) -> None:
    """Tiles are not sent where they would be larger than the map."""
    from hdsynth_client.stream_maps import MapSender

    sender = MapSender("instance")
    sender.pack(scene.instance)
    whole, tiles = sender.pack(np.random.default_rng(0).integers(0, 99, (128, 192)))

    assert whole is not None
    assert not tiles


def test_the_caller_is_never_held_up(fake: Server, scene: Scene) -> None:
    """Frames that come faster than they leave are dropped, and every one is answered."""
    from hdsynth_client.stream import open_stream
    from hdsynth_client.stream_config import StreamConfig
    from hdsynth_client.stream_events import Dropped, Result

    answered: list[int] = []
    with open_stream(fake.grpc_address, StreamConfig(format="raw")) as stream:
        for _ in range(50):
            stream.send(scene.label, scene.instance)
        stream.end()
        for event in stream:
            if isinstance(event, Result):
                answered.append(event.frame_id)
            elif isinstance(event, Dropped):
                assert event.reason == "superseded"
                answered.append(event.frame_id)

    assert sorted(answered) == list(range(50))
    assert 49 in answered


def test_a_bad_frame_does_not_end_the_stream(stream: "Stream", scene: Scene) -> None:
    """It is dropped with the server's code; the next frame is sent whole and comes back."""
    from hdsynth_client.stream_events import Dropped, Ready, Result

    stream.send(scene.label, scene.instance)
    assert isinstance(stream.take(30), Ready)
    assert isinstance(stream.take(30), Result)
    stream.send(np.full_like(scene.label, 99), scene.instance)
    dropped = stream.take(30)
    assert isinstance(dropped, Dropped)
    assert (dropped.reason, dropped.code) == ("invalid", "LABEL_OUT_OF_RANGE")
    stream.send(scene.label, scene.instance)
    result = stream.take(30)
    assert isinstance(result, Result)
    assert (result.photo.pixels[..., 0] == scene.label).all()


def test_a_stream_that_cannot_be_opened(fake: Server) -> None:
    """Opening raises the server's reason, or that there is no server."""
    from hdsynth_client.errors import ConnectionFailedError, ServiceError
    from hdsynth_client.retry import Retry
    from hdsynth_client.stream import open_stream
    from hdsynth_client.stream_config import StreamConfig

    with pytest.raises(ServiceError, match="MODEL_NOT_FOUND"):
        open_stream(fake.grpc_address, StreamConfig(model="none"))
    with pytest.raises(ConnectionFailedError):
        open_stream("localhost:1", retry=Retry(attempts=1))


def test_waiting_has_an_end(stream: "Stream") -> None:
    """Nothing comes from a stream to which nothing was sent."""
    stream.take(30)
    with pytest.raises(TimeoutError):
        stream.take(0.05)


def test_await_does_the_same(fake: Server, scene: Scene) -> None:
    """The asynchronous stream takes frames and new styles, and ends."""
    from hdsynth_client.stream import open_async_stream
    from hdsynth_client.stream_config import StreamConfig
    from hdsynth_client.stream_events import Result
    from hdsynth_client.types import Styles

    async def play() -> list[Result]:
        config = StreamConfig(format="raw", delivery="ordered")
        async with open_async_stream(fake.grpc_address, config) as stream:
            await stream.send(scene.label, scene.instance)
            stream.restyle(Styles(instances={int(scene.instance.max()): (0.5, 0.5, 0.5)}))
            await stream.send(scene.label, scene.instance, capture_time_us=7)
            stream.end()
            return [event async for event in stream if isinstance(event, Result)]

    first, second = asyncio.run(play())
    assert len(first.new_styles) > 3
    news = {style.instance: style.code for style in second.new_styles}
    assert news == {} or news == {int(scene.instance.max()): (0.5, 0.5, 0.5)}
    assert second.capture_time_us == 7


def test_a_stream_survives_a_restart(tiny_bundle: Path, scene: Scene) -> None:
    """Sent away, the stream opens again at the next server; frames are whole there."""
    from hdsynth_client.retry import Retry
    from hdsynth_client.stream import open_stream
    from hdsynth_client.stream_config import StreamConfig
    from hdsynth_client.stream_events import GoAway, Ready, Result

    settings = {"model": tiny_bundle, "buckets": "192x128", "backend": "fake"}
    patient = Retry(attempts=12, total_s=120)  # a server takes its time to start
    with ExitStack() as stack:
        server = stack.enter_context(local_server(**settings))
        address, config = server.grpc_address, StreamConfig(format="raw")
        stream = stack.enter_context(open_stream(address, config, reconnect=True, retry=patient))
        assert isinstance(stream.take(30), Ready)
        stream.send(scene.label, scene.instance)
        assert isinstance(stream.take(30), Result)

        os.kill(server.pid, signal.SIGTERM)
        assert isinstance(stream.take(30), GoAway)
        number = stream.send(scene.label, scene.instance)
        stack.enter_context(local_server(**settings, grpc_port=address.rpartition(":")[2]))
        assert isinstance(stream.take(120), Ready)
        result = stream.take(30)
        assert isinstance(result, Result)
        assert result.frame_id == number
        assert (result.photo.pixels[..., 0] == scene.label).all()
