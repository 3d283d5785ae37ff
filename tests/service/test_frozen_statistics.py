"""Streams that keep the normalisation statistics of a scene."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hdsynth.v1 import synthesis_pb2 as pb
from numpy.typing import NDArray

from export.build import add_engines
from model.scenes import Scene, draw_scene
from service.backends import load_engine
from service.synthesizer import Scene as Prepared
from service.synthesizer import Synthesizer
from tests.service.conftest import Server, start_server, stop_server
from tests.service.streaming import Stream, frame, photo, websocket_stream

RAW = pb.IMAGE_FORMAT_RAW
REGION = pb.Rectangle(x=24, y=16, width=32, height=32)
INSIDE = np.s_[16:48, 24:56]


@pytest.fixture(scope="module")
def frozen_bundle(plain_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with instance norm and the graph that freezes it."""
    folder = tmp_path_factory.mktemp("frozen") / "bundle"
    shutil.copytree(plain_bundle, folder)
    add_engines(folder, precisions=("float32",), sizes=((64, 48),), frozen=True)
    return folder


@pytest.fixture(scope="module")
def freezing(frozen_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that can freeze."""
    log = tmp_path_factory.mktemp("freezing") / "stderr.log"
    server = start_server(log, model=frozen_bundle, backend="onnx-frozen", buckets="96x80")
    yield server
    stop_server(server)


@pytest.fixture(scope="module")
def other() -> Scene:
    """Another scene of the same size."""
    return draw_scene(96, 80, seed=9)


def made(stream: Stream, frame_id: int, scene: Scene, **fields: object) -> NDArray[np.uint8]:
    """Send a frame and wait for its photograph."""
    stream.send(frame=frame(frame_id, scene, **fields))
    return photo(stream.result())


def test_the_engine_keeps_the_statistics_of_a_key(frozen_bundle: Path, other: Scene) -> None:
    """The first scene of a key is as without one; later ones have its statistics."""
    from model.bundle import load_bundle

    bundle = load_bundle(frozen_bundle)
    synthesizer = Synthesizer(bundle, load_engine(bundle, "onnx-frozen", 1))

    def photograph(scene: Scene, key: int) -> NDArray[np.uint8]:
        prepared = synthesizer.prepare(scene.label, scene.instance)
        (pixels,) = synthesizer.run([Prepared(prepared.maps, prepared.styles, key)])
        return pixels

    first = draw_scene(96, 80, seed=4)
    plain = photograph(other, 0)
    assert np.array_equal(photograph(first, 7), photograph(first, 0))
    assert np.array_equal(photograph(first, 7), photograph(first, 0))
    assert not np.array_equal(photograph(other, 7), plain)
    assert np.array_equal(photograph(other, 8), plain)


def test_a_region_has_the_statistics_of_the_picture_before(freezing: Server, scene: Scene) -> None:
    """So that it is nearer to the same pixels of the whole photograph."""
    with websocket_stream(freezing, format=RAW) as stream:
        stream.receive()
        whole = made(stream, 1, scene).astype(int)
        # Nothing was recorded yet: the first region tells the server that there will be some.
        apart = np.abs(made(stream, 2, scene, region=REGION) - whole[INSIDE]).mean()
        assert np.array_equal(made(stream, 3, scene), whole)
        near = np.abs(made(stream, 4, scene, region=REGION) - whole[INSIDE]).mean()
    assert near < 0.5 * apart


def test_steady_streams_freeze_until_a_scene_cut(
    freezing: Server, scene: Scene, other: Scene
) -> None:
    """Whole pictures keep the statistics of the scene's first one; a cut takes new ones."""
    with websocket_stream(freezing, format=RAW) as stream:
        stream.receive()
        usual = made(stream, 1, other)
    # Other classes everywhere, so that nothing is blended.
    with websocket_stream(freezing, format=RAW, steady=True) as stream:
        stream.receive()
        made(stream, 1, scene)
        changed = (other.label != scene.label) | (other.instance != scene.instance)
        frozen = made(stream, 2, other)
        assert not np.array_equal(frozen[changed], usual[changed])
        assert np.array_equal(made(stream, 3, other, scene_cut=True), usual)
