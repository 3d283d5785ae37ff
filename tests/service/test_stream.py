"""Streams over gRPC and WebSocket: what a client sends and what it gets for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from hdsynth.v1 import synthesis_pb2 as pb
from hdsynth.v1 import synthesis_pb2_grpc
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from model.scenes import CLASSES, Scene
from service.auth import new_key
from tests.service.conftest import Server, start_server, stop_server
from tests.service.streaming import (
    Stream,
    frame,
    grpc_stream,
    photo,
    plane,
    tile,
    websocket_stream,
)

Open = Callable[..., AbstractContextManager[Stream]]
RAW = pb.IMAGE_FORMAT_RAW
FUTURE_MAP = pb.Map.FromString(b"\x08\x4d\x2a\x01x")
"""A map in an encoding that does not exist yet, number 77."""
FACADE, WINDOW = CLASSES.index("facade"), CLASSES.index("window")


@pytest.fixture(params=[grpc_stream, websocket_stream], ids=["grpc", "websocket"])
def open_stream(request: pytest.FixtureRequest) -> Open:
    """How to open a stream over one of the faces."""
    face: Open = request.param
    return face


@pytest.fixture(scope="module")
def fake(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose photographs are (label, instance, style row) of every pixel."""
    log = tmp_path_factory.mktemp("fake") / "stderr.log"
    server = start_server(log, model=tiny_bundle, backend="fake", buckets="96x80")
    yield server
    stop_server(server)


@pytest.fixture
def stream(fake: Server) -> Iterator[Stream]:
    """A stream of RAW photographs on that server, ready."""
    with grpc_stream(fake, format=RAW) as stream:
        stream.receive()
        yield stream


def raw_map(width: int, height: int, data: bytes) -> pb.Map:
    """Claim a size for some bytes."""
    return pb.Map(encoding=pb.MAP_ENCODING_RAW, width=width, height=height, data=data)


def shown(scene: Scene) -> np.ndarray:
    """What the fake engine makes of label and instance."""
    return np.stack([scene.label, scene.instance & 255], -1).astype(np.uint8)


def test_photographs_are_those_of_a_single_call(
    server: Server, scene: Scene, open_stream: Open
) -> None:
    """Both faces give the bytes that `Synthesize` gives for the same maps and styles."""
    styles = pb.Styles(seed=5, classes={FACADE: pb.Style(cluster=1)})
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = synthesis_pb2_grpc.SynthesisServiceStub(channel)  # type: ignore[no-untyped-call]
        maps: dict[str, Any] = {"label": plane(scene.label), "instance": plane(scene.instance)}
        jpeg = pb.IMAGE_FORMAT_JPEG
        single = stub.Synthesize(pb.SynthesizeRequest(styles=styles, format=jpeg, **maps))
    with open_stream(server, styles=styles) as stream:
        ready = stream.receive()
        assert ready is not None
        assert ready.ready.model == "tiny"
        assert ready.ready.model_version == single.model_version
        stream.send(frame=frame(7, scene, capture_time_us=123))
        result = stream.result()
    assert result.photo == single.photo
    assert (result.frame_id, result.capture_time_us) == (7, 123)
    assert result.age > result.seconds.infer > 0
    assert not result.HasField("region")


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_formats(fake: Server, scene: Scene, format_: str) -> None:
    """Photographs come in the format of the config."""
    value = pb.ImageFormat.Value(f"IMAGE_FORMAT_{format_}")
    with grpc_stream(fake, format=value, quality=70) as stream:
        stream.receive()
        stream.send(frame=frame(1, scene))
        assert stream.result().photo.format == value


def test_tiles_give_what_whole_maps_give(fake: Server, scene: Scene, open_stream: Open) -> None:
    """Frames that send only what changed show the same as frames that send everything."""
    label, instance = scene.label.copy(), scene.instance.copy()
    label[10:30, 5:50], instance[40:77, 60:91] = WINDOW, 300
    with open_stream(fake, format=RAW) as stream:
        stream.receive()
        stream.send(frame=frame(1, scene))
        assert np.array_equal(photo(stream.result())[..., :2], shown(scene))
        tiles: dict[str, Any] = {
            "label_tiles": [tile(label, 5, 10, 30, 20), tile(label, 30, 10, 20, 20)],
            "instance_tiles": [tile(instance, 60, 40, 31, 37)],
        }
        stream.send(frame=pb.Frame(frame_id=2, **tiles))
        by_tiles = photo(stream.result())
        stream.send(frame=frame(3, replace(scene, label=label, instance=instance)))
        assert np.array_equal(photo(stream.result()), by_tiles)
        stream.send(frame=pb.Frame(frame_id=4))
        assert np.array_equal(photo(stream.result()), by_tiles)


def test_tiles_of_frames_that_are_superseded_count(fake: Server, scene: Scene) -> None:
    """A burst of frames that each change one tile ends with all tiles changed."""
    label = scene.label.copy()
    with grpc_stream(fake, format=RAW, max_unacknowledged=1) as stream:
        stream.receive()
        stream.send(frame=frame(1, scene))
        for number in range(2, 42):
            x, y = 8 * (number % 10), 16 * (number // 10)
            label[y : y + 16, x : x + 8] = number % len(CLASSES)
            stream.send(frame=pb.Frame(frame_id=number, label_tiles=[tile(label, x, y, 8, 16)]))
        seen, result = 0, None
        while seen < 41:
            message = stream.receive()
            assert message is not None
            if message.HasField("result"):
                result, seen = message.result, seen + 1
                stream.send(ack=pb.Ack(frame_id=result.frame_id))
            else:
                assert message.dropped.reason == pb.DROP_REASON_SUPERSEDED
                seen += message.dropped.last_frame_id - message.dropped.first_frame_id + 1
    assert result is not None
    assert result.frame_id == 41
    assert np.array_equal(photo(result)[..., 0], label)


def test_a_region_is_cut_out_of_the_whole_picture(stream: Stream, scene: Scene) -> None:
    """The photograph of a region shows just that, and says so."""
    region = pb.Rectangle(x=21, y=33, width=40, height=17)
    stream.send(frame=frame(1, scene, region=region))
    result = stream.result()
    assert result.region == region
    assert np.array_equal(photo(result)[..., :2], shown(scene)[33:50, 21:61])


def test_reduction_takes_the_nearest_pixels(stream: Stream, scene: Scene) -> None:
    """A third of the size shows the middle pixel of every 3x3, ids unblended."""
    stream.send(frame=frame(1, scene, reduction=3))
    assert np.array_equal(photo(stream.result())[..., 0], scene.label[1::3, 1::3])
    stream.send(
        frame=pb.Frame(frame_id=2, reduction=2, region=pb.Rectangle(x=11, y=20, width=8, height=6))
    )
    result = stream.result()
    assert result.region == pb.Rectangle(x=10, y=20, width=10, height=6)
    assert np.array_equal(photo(result)[..., 0], scene.label[21:26:2, 11:20:2])


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("INVALID_IMAGE", {"label": raw_map(96, 80, b"short")}),
        ("EMPTY_UPLOAD", {"label": raw_map(96, 80, b"")}),
        ("UNSUPPORTED_FORMAT", {"label": pb.Map(data=b"no image at all")}),
        ("LABEL_OUT_OF_RANGE", {"label": plane(np.full((80, 96), 200, np.uint8))}),
        ("SIZE_MISMATCH", {"label": plane(np.zeros((8, 96), np.uint8))}),
        ("IMAGE_TOO_LARGE", {"label": raw_map(9999, 9999, b"x")}),
        ("INVALID_FIELD", {"label": FUTURE_MAP}),
        (
            "INVALID_FIELD",
            {"label_tiles": [tile(np.zeros((20, 20), np.uint8), 0, 0, 20, 20)] * 40},
        ),
        ("INVALID_FIELD", {"label_tiles": [tile(np.zeros((80, 99), np.uint8), 90, 0, 9, 9)]}),
        ("INVALID_FIELD", {"region": pb.Rectangle(x=90, width=7, height=1)}),
        ("INVALID_FIELD", {"region": pb.Rectangle(x=1)}),
        ("INVALID_FIELD", {"reduction": 9}),
        ("INVALID_FIELD", {"frame_id": 1}),
    ],
)  # fmt: skip
def test_a_bad_frame_does_not_end_the_stream(
    stream: Stream, scene: Scene, reason: str, fields: dict[str, Any]
) -> None:
    """It is announced with the reason that a single call would get, and the next one is served."""
    stream.send(frame=frame(1, scene))
    stream.result()
    stream.send(frame=pb.Frame(**{"frame_id": 2, **fields}))
    notice = stream.dropped()
    assert (notice.reason, notice.error.reason) == (pb.DROP_REASON_INVALID, reason)
    assert notice.first_frame_id == notice.last_frame_id == fields.get("frame_id", 2)
    stream.send(frame=frame(3, scene))
    assert np.array_equal(photo(stream.result())[..., :2], shown(scene))


def test_tiles_are_refused_until_whole_maps_come(stream: Stream, scene: Scene) -> None:
    """After a frame whose changes were lost, no frame can show a mixture of two scenes."""
    stream.send(frame=pb.Frame(frame_id=1, label_tiles=[tile(scene.label, 0, 0, 8, 8)]))
    assert stream.dropped().error.reason == "MISSING_FIELD"
    stream.send(frame=frame(2, scene))
    stream.result()
    stream.send(frame=pb.Frame(frame_id=3, label_tiles=[pb.MapTile(map=pb.Map(data=b"no"))]))
    assert stream.dropped().error.reason == "UNSUPPORTED_FORMAT"
    stream.send(frame=pb.Frame(frame_id=4, label_tiles=[tile(scene.label, 0, 0, 8, 8)]))
    assert "lack frame 3" in stream.dropped().error.message


def test_an_instance_keeps_its_style(server: Server, scene: Scene) -> None:
    """A style is told once, holds in every frame, and is that of a single call with the seed."""
    other = replace(scene, label=scene.label[:, :48], instance=scene.instance[:, :48])
    with grpc_stream(server, styles=pb.Styles(seed=3)) as stream:
        stream.receive()
        stream.send(frame=frame(1, other))
        first = {(s.instance, s.label): [*s.code] for s in stream.result().new_styles}
        stream.send(frame=frame(2, scene))
        more = {(s.instance, s.label): [*s.code] for s in stream.result().new_styles}
        stream.send(frame=frame(3, other))
        assert not stream.result().new_styles
    assert not first.keys() & more.keys()
    everything = {(int(i), int(i) // 1000) for i in np.unique(scene.instance)}
    assert first.keys() | more.keys() == everything
    assert all(len(code) == 3 for code in more.values())


def test_styles_change_at_any_time(server: Server, scene: Scene) -> None:
    """A new seed draws all styles anew but those that are given; taken back, they are as before."""
    wall = int(scene.instance[scene.label == FACADE][0])
    code = pb.Style(code=pb.StyleCode(values=[0.5, -0.5, 0.25]))
    given = {wall: code, 424242: pb.Style(cluster=1)}  # the second is not to be seen yet

    with grpc_stream(server, format=RAW, styles=pb.Styles(seed=1)) as stream:
        stream.receive()

        def show(number: int, styles: pb.Styles) -> tuple[np.ndarray, dict[int, list[float]]]:
            stream.send(styles=styles)
            stream.send(frame=frame(number, scene))
            result = stream.result()
            return photo(result), {s.instance: [*s.code] for s in result.new_styles}

        first, drawn = show(1, pb.Styles(seed=1))
        given_one, news = show(2, pb.Styles(seed=1, instances=given))
        assert news == {wall: [0.5, -0.5, 0.25]}
        assert (given_one != first).any()
        _, news = show(3, pb.Styles(seed=2, instances=given))
        assert wall not in news
        assert news
        again, news = show(4, pb.Styles(seed=1))
        assert news[wall] == drawn[wall]
        assert np.array_equal(again, first)


def test_faulty_styles_are_told_with_a_frame(stream: Stream, scene: Scene) -> None:
    """They change nothing: the frame says what is wrong with them, and the next one is served."""
    stream.send(styles=pb.Styles(classes={99: pb.Style(cluster=0)}))
    stream.send(frame=frame(1, scene))
    assert stream.dropped().error.reason == "CLASS_NOT_FOUND"
    stream.send(frame=frame(2, scene))
    assert stream.result().frame_id == 2


def test_heartbeats_are_answered(stream: Stream) -> None:
    """A heartbeat comes back unchanged."""
    stream.send(heartbeat=pb.Heartbeat(time_us=77))
    message = stream.incoming.get(timeout=30)
    assert message is not None
    assert message.heartbeat.time_us == 77


def test_half_closed_stream_is_finished(fake: Server, scene: Scene) -> None:
    """Frames that wait when the client has said all it had to say are still made."""
    with grpc_stream(fake, delivery=pb.DELIVERY_ORDERED) as stream:
        stream.receive()
        for number in range(1, 5):
            stream.send(frame=frame(number, scene))
        stream.end()
        messages = [stream.receive() for _ in range(5)]
    assert [m and m.result.frame_id for m in messages] == [1, 2, 3, 4, None]
    assert stream.error is None


@pytest.mark.parametrize(
    ("reason", "config"),
    [
        ("MODEL_NOT_FOUND", {"model": "nobody"}),
        ("INVALID_FIELD", {"max_unacknowledged": 3}),
        ("INVALID_FIELD", {"quality": 101}),
        ("INVALID_FIELD", {"delivery": 9}),
        ("CLASS_NOT_FOUND", {"styles": pb.Styles(classes={99: pb.Style(cluster=0)})}),
    ],
)
def test_a_wrong_config_ends_the_stream(
    fake: Server, reason: str, config: dict[str, Any], open_stream: Open
) -> None:
    """Nothing can be served then; the status or the last message says why."""
    with open_stream(fake, **config) as stream:
        last = stream.receive()
        if open_stream is grpc_stream:
            assert isinstance(stream.error, grpc.RpcError)
            assert reason in str(stream.error.trailing_metadata())
        else:
            assert last is not None
            assert last.dropped.error.reason == reason
            assert stream.receive() is None
            assert isinstance(stream.error, ConnectionClosedError)
            assert stream.error.rcvd is not None
            assert (stream.error.rcvd.code, reason in stream.error.rcvd.reason) == (1008, True)


def test_config_comes_first_and_once(fake: Server, scene: Scene) -> None:
    """A stream that begins with a frame, or is configured twice, ends."""
    address = fake.url.replace("http", "ws", 1) + "/v1/stream"
    with connect(address) as socket:
        request = pb.SynthesizeStreamRequest(frame=frame(1, scene))
        socket.send(request.SerializeToString())
        answer = pb.SynthesizeStreamResponse.FromString(socket.recv(timeout=30))  # type: ignore[arg-type]
        assert answer.dropped.error.reason == "MISSING_FIELD"
    with grpc_stream(fake) as stream:
        stream.receive()
        stream.send(config=pb.StreamConfig())
        assert stream.receive() is None
        assert isinstance(stream.error, grpc.RpcError)


@pytest.mark.parametrize("message", ["text", b"\xff\xff\xff"])
def test_unreadable_messages_end_a_websocket(fake: Server, message: str | bytes) -> None:
    """What is no message of the stream is answered with the reason and a close."""
    with connect(fake.url.replace("http", "ws", 1) + "/v1/stream") as socket:
        socket.send(message)
        answer = pb.SynthesizeStreamResponse.FromString(socket.recv(timeout=30))  # type: ignore[arg-type]
        assert answer.dropped.error.reason == "INVALID_MESSAGE"


def test_pages_of_other_sites_may_not_stream(fake: Server) -> None:
    """Browsers name the page's origin; ours is welcome, others need the server's leave."""
    address = fake.url.replace("http", "ws", 1) + "/v1/stream"
    with connect(address, origin=Origin(fake.url)):
        pass
    with pytest.raises(InvalidStatus) as refused:
        connect(address, origin=Origin("https://evil.example"))
    assert refused.value.response.status_code == 403
    assert b"cors_origins" in refused.value.response.body


def test_keys_and_origins(tiny_bundle: Path, tmp_path: Path, scene: Scene) -> None:
    """A browser gives its key among the subprotocols; allowed origins may stream."""
    key, line = new_key("studio")
    (tmp_path / "keys").write_text(line)
    settings: dict[str, Any] = {"model": tiny_bundle, "backend": "fake", "buckets": "96x80"}
    origin = Origin("https://studio.example.org")
    server = start_server(
        tmp_path / "log", api_keys_file=tmp_path / "keys", cors_origins=origin, **settings
    )
    try:
        address = server.url.replace("http", "ws", 1) + "/v1/stream"
        with pytest.raises(InvalidStatus) as refused:
            connect(address)
        assert refused.value.response.status_code == 401
        with connect(address, additional_headers={"X-API-Key": key}, origin=origin):
            pass
        with websocket_stream(server, key, format=RAW) as stream:
            stream.receive()
            stream.send(frame=frame(1, scene))
            assert stream.result().frame_id == 1
    finally:
        stop_server(server)


def test_metrics_tell_of_streams(fake: Server, scene: Scene) -> None:
    """Open streams, frames by outcome and their age are counted."""
    with websocket_stream(fake) as stream, httpx.Client() as client:
        stream.receive()
        stream.send(frame=frame(1, scene))
        stream.result()
        text = client.get(f"{fake.metrics_url}/metrics").text
    assert 'hdsynth_stream_sessions{api="websocket"} 1.0' in text
    assert 'hdsynth_stream_frames_total{outcome="delivered"}' in text
    assert 'hdsynth_stream_frames_total{outcome="invalid"}' in text
    assert "hdsynth_stream_frame_age_seconds_count" in text
