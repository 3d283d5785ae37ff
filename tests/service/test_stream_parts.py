"""The parts of a stream that need no server: maps, styles, pace, notices and blending."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from hdsynth.v1 import synthesis_pb2 as pb

from model.bundle import Bundle, load_bundle
from model.codec import prepare_maps
from model.scenes import CLASSES, Scene
from model.styles import StyleChoice
from service.errors import ServiceError
from service.stream_frames import CONTEXT, StreamMaps, View
from service.stream_outbox import Outbox
from service.stream_pacing import Pacer
from service.stream_steady import Blend
from service.stream_styles import StyleMemory
from tests.service.streaming import frame, plane, tile

SUPERSEDED, INVALID = pb.DROP_REASON_SUPERSEDED, pb.DROP_REASON_INVALID


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    """The model, whose sides are multiples of 4."""
    return load_bundle(tiny_bundle)


def test_a_region_has_context_on_the_model_s_grid(bundle: Bundle, scene: Scene) -> None:
    """What is synthesised begins at a multiple of the model's and ends at one or at the edge."""
    maps = StreamMaps(bundle, 1 << 20)
    message = frame(1, scene, region=pb.Rectangle(x=41, y=0, width=10, height=79))
    maps.apply(message)
    view = maps.view(message, "jpeg")
    multiple = bundle.generator.size_multiple
    left, right = (10 - CONTEXT) * multiple, (13 + CONTEXT) * multiple
    assert np.array_equal(view.label, scene.label[:, left:right])
    assert view.inner == (slice(0, 79), slice(41 - left, 51 - left))
    assert view.instance is not None
    assert view.instance.shape == view.label.shape


def test_kept_maps_are_never_written_to(bundle: Bundle, scene: Scene) -> None:
    """A scene that waits for the engine shows what it showed when it came."""
    maps = StreamMaps(bundle, 1 << 20)
    first = frame(1, scene)
    maps.apply(first)
    view = maps.view(first, "jpeg")
    other = np.full_like(scene.label, 3)
    maps.apply(pb.Frame(frame_id=2, label_tiles=[tile(other, 0, 0, 50, 50)]))
    assert np.array_equal(view.label, scene.label)
    assert (maps.view(pb.Frame(), "jpeg").label[:50, :50] == 3).all()


def test_a_frame_is_taken_over_whole_or_not_at_all(bundle: Bundle, scene: Scene) -> None:
    """A good label map beside a bad instance map changes nothing."""
    maps = StreamMaps(bundle, 1 << 20)
    maps.apply(frame(1, scene))
    bad = pb.Frame(frame_id=2, label=plane(scene.label * 0), instance=pb.Map(data=b"?"))
    with pytest.raises(ServiceError):
        maps.apply(bad)
    assert np.array_equal(maps.view(pb.Frame(), "jpeg").label, scene.label)


def test_styles_of_a_frame_do_not_depend_on_the_others(bundle: Bundle, scene: Scene) -> None:
    """Even an object that was forgotten comes back with its style, and is told again."""
    maps = prepare_maps(scene.label, scene.instance, len(CLASSES))
    memory = StyleMemory(bundle, max_objects=len(maps.object_ids))
    codes, news = memory.table(maps, StyleChoice(seed=1))
    assert len(news) == len(maps.object_ids)
    others = prepare_maps(scene.label, scene.instance + 1, len(CLASSES))
    memory.table(others, StyleChoice(seed=1))
    assert len(memory) == len(maps.object_ids)
    again, news = memory.table(maps, StyleChoice(seed=1))
    assert np.array_equal(again, codes)
    assert len(news) > 0
    assert not len(memory.table(maps, StyleChoice(seed=1))[1])


def test_pace_is_told_when_the_client_is_too_fast() -> None:
    """Once, then again when it has changed by a fifth, and when there is room for more."""
    pacer = Pacer(0.0)

    def second(start: float, arrived: int, delivered: int, busy_s: float) -> list[float]:
        for _ in range(arrived):
            pacer.arrived()
        times = start + np.arange(1, delivered + 1) / delivered
        paces = [pacer.delivered(now, busy_s) for now in times.tolist()]
        return [pace for pace in paces if pace is not None]

    assert second(0, 10, 10, 0.1) == []
    assert second(1, 30, 10, 0.1) == [pytest.approx(10)]
    assert second(2, 30, 11, 0.1) == []
    assert second(3, 30, 5, 0.2) == [pytest.approx(5)]
    assert second(4, 5, 5, 0.2) == []
    assert second(5, 5, 5, 0.05) == [pytest.approx(20)]


def test_notices_of_neighbours_become_one() -> None:
    """Frames that followed each other share a notice; others, and faults, have their own."""

    async def notices() -> list[tuple[int, int, int]]:
        outbox = Outbox()
        for number, frame_id in enumerate([10, 20, 30]):
            outbox.drop(number, frame_id, SUPERSEDED)
        outbox.drop(4, 50, SUPERSEDED)
        outbox.drop(5, 60, INVALID, ServiceError("INVALID_IMAGE", "no"))
        outbox.drop(6, 70, INVALID, ServiceError("INVALID_IMAGE", "no"))
        outbox.close()
        found: list[tuple[int, int, int]] = []
        while (message := await outbox.next()) is not None:
            notice = message.dropped
            found.append((notice.first_frame_id, notice.last_frame_id, notice.reason))
        return found

    assert asyncio.run(notices()) == [
        (10, 30, SUPERSEDED), (50, 50, SUPERSEDED), (60, 60, INVALID), (70, 70, INVALID),
    ]  # fmt: skip


def test_blending_damps_what_does_not_change() -> None:
    """Half of a change shows at once where the object is the same, all of it elsewhere."""
    label, instance = np.zeros((2, 4), np.uint8), np.zeros((2, 4), np.int32)
    whole = (slice(None), slice(None))
    blend, bright = Blend(), np.full((2, 4, 3), 200, np.uint8)
    dark = np.zeros_like(bright)
    assert np.array_equal(blend.blend(View(label, instance, whole, None), dark, False), dark)
    other = instance.copy()
    other[0] = 7
    mixed = blend.blend(View(label, other, whole, None), bright, False)
    assert (mixed[0] == 200).all()
    assert (mixed[1] == 100).all()
    later = blend.blend(View(label, other, whole, None), bright, False)
    assert (later[1] == 150).all()
    assert np.array_equal(blend.blend(View(label, other, whole, None), dark, True), dark)
    region = pb.Rectangle(x=4, width=4, height=2)
    assert (blend.blend(View(label, other, whole, region), bright, False) == 200).all()
