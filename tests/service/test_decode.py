import zlib

import numpy as np
import pytest

from model.bundle import Bundle
from model.classes import Classes
from model.errors import MapError
from model.spec import GeneratorSpec, InputSpec
from model.styles import StyleChoice
from service.decode import SMALL_PIXELS, decode_scene, is_small, raw_plane, scene_map
from service.jobs import Job, MapData
from service.synthesizer import batch_forms, fill_batch
from tests.service.conftest import png

PICTURE = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


def sketches(channels: int = 3) -> InputSpec:
    """Describe the input of a model that starts from pictures instead of labels."""
    return InputSpec(0, edges=False, image_channels=channels)


@pytest.mark.parametrize("deflated", [False, True])
def test_raw_picture(deflated: bool) -> None:
    """A model without labels takes raw pictures of its number of channels."""
    data = PICTURE.tobytes()
    encoding, sent = ("raw_zlib", zlib.compress(data)) if deflated else ("raw", data)
    given = MapData(sent, encoding, "uint8", 20, 12)  # type: ignore[arg-type]
    assert np.array_equal(scene_map(given, sketches(), 1000), PICTURE)


def test_picture_as_a_file() -> None:
    """It takes picture files too, and makes them grey if it needs that."""
    given = MapData(png(PICTURE))
    assert np.array_equal(scene_map(given, sketches(), 1000), PICTURE)
    assert scene_map(given, sketches(1), 1000).shape == (12, 20, 1)


def test_picture_becomes_a_batch() -> None:
    """Its pixels reach the engine as they are, as one object."""
    spec = sketches()
    bundle = Bundle("sketch", spec, GeneratorSpec("global", spec.channels), Classes((), ()))
    scenes = [decode_scene(Job(MapData(png(PICTURE))), bundle, 10_000)] * 2
    forms = batch_forms(bundle, scenes)
    assert forms["label"] == ("|u1", (2, 12, 20, 3))
    arrays = {name: np.empty(shape, dtype) for name, (dtype, shape) in forms.items()}
    fill_batch(scenes, arrays)
    assert np.array_equal(arrays["label"][1], PICTURE)


def test_announced_size_bounds_the_memory() -> None:
    """Of a small stream that inflates to a gigabyte only the announced bytes are inflated."""
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024)) + packer.flush()
    with pytest.raises(MapError, match="4x4 pixels of uint16 need 32 bytes, but there are more"):
        raw_plane(MapData(bomb, "raw_zlib", "uint16", 4, 4), 100, "label")


def test_raw_ids_are_little_endian() -> None:
    """The first of two bytes is the low one."""
    ids = raw_plane(MapData(b"\x01\x02\x03\x04", "raw", "uint16", 2, 1), 100, "instance")
    assert ids.tolist() == [[0x0201, 0x0403]]


def test_what_takes_long_is_never_read_at_once() -> None:
    """Only a pair of maps that are small, whatever their files say, is read on the event loop."""
    side = int(SMALL_PIXELS**0.5)
    small, large = (MapData(png(np.zeros((side, s), np.uint8))) for s in (side, side + 1))
    raw = MapData(bytes(side * side), "raw", "uint8", side, side)
    bomb = MapData(zlib.compress(bytes(1 << 20)), "raw_zlib", "uint8", 1024, 1024)
    assert is_small(Job(small, small))
    assert is_small(Job(raw, small, StyleChoice(instances=dict.fromkeys(range(100), 0))))
    # Without an instance map its regions have to be found.
    slow = [Job(small), Job(large, small), Job(small, large), Job(small, bomb)]
    padded = MapData(small.data + bytes(SMALL_PIXELS))
    # Empty blocks without end.
    hollow = MapData(bytes(5 * SMALL_PIXELS), "raw_zlib", "uint8", side, side)
    others = [
        Job(padded, small),
        Job(small, hollow),
        Job(small, MapData(b"II*\0")),
        Job(MapData(b""), small),
        Job(small, small, StyleChoice(instances=dict.fromkeys(range(101), 0))),
    ]
    assert not any(map(is_small, slow + others))
