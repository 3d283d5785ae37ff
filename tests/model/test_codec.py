"""The codec: what the network sees, and what becomes of its output."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model import inputs
from model.codec import (
    NO_CLASS,
    check_label_map,
    connected_regions,
    edge_map,
    legal_size,
    network_input,
    pad_reflect,
    prepare_maps,
    prepare_source,
    to_pixels,
)
from model.errors import MapError
from model.spec import InputSpec
from model.synthesis import to_pixels as to_pixels_torch


def test_edges_mark_both_sides_of_every_border() -> None:
    """A pixel is an edge where a 4-neighbour inside the image has another id."""
    ids = np.array([[1, 1, 2], [1, 1, 2], [3, 1, 1]])
    wanted = [[0, 1, 1], [1, 1, 1], [1, 1, 1]]
    assert edge_map(ids).astype(int).tolist() == wanted


def test_edges_tell_large_neighbouring_ids_apart() -> None:
    """Ids that half precision would merge still have a border between them."""
    assert edge_map(np.array([[26001, 26002]])).all()


def test_network_input_channels() -> None:
    """One-hot labels, edges and style codes come in the published order."""
    label = np.array([[0, 1], [1, 1]], np.uint8)
    index = np.array([[0, 1], [1, 1]])
    table = np.array([[0.5, -0.5], [0.25, 1.0]], np.float32)
    x = network_input(InputSpec(2, style_channels=2), label, index, index, table)
    assert x[:2].tolist() == [[[1, 0], [0, 0]], [[0, 1], [1, 1]]]
    assert x[2].tolist() == [[1, 1], [1, 0]]
    assert x[3:, 0, 0].tolist() == [0.5, -0.5]
    assert x[3:, 1, 1].tolist() == [0.25, 1.0]


def test_tensor_and_numpy_expansion_are_equal() -> None:
    """The torch expansion used on devices equals the codec bit for bit."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 7, (2, 9, 13)).astype(np.uint8)
    label[0, 0, 0] = NO_CLASS
    ids = rng.integers(0, 5, (2, 9, 13)).astype(np.int32)
    table = rng.uniform(-1, 1, (2, 5, 3)).astype(np.float32)
    spec = InputSpec(7, style_channels=3)
    painted = inputs.paint_styles(torch.from_numpy(ids), torch.from_numpy(table))
    tensor = inputs.network_input(spec, torch.from_numpy(label), torch.from_numpy(ids), painted)
    for n in range(2):
        wanted = network_input(spec, label[n], ids[n], ids[n], table[n])
        assert np.array_equal(tensor[n].numpy(), wanted)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("edges", [True, False])
def test_source_images_take_the_place_of_labels(channels: int, edges: bool) -> None:
    """Without labels the picture itself is the input, in [-1, 1]; numpy and torch agree."""
    values = np.arange(2 * 16 * 16 * channels) % 256
    image = values.astype(np.uint8).reshape(2, 16, 16, channels)
    ids = np.random.default_rng(0).integers(0, 5, (2, 16, 16)).astype(np.int32)
    spec = InputSpec(0, edges=edges, image_channels=channels)
    tensor = inputs.network_input(spec, torch.from_numpy(image), torch.from_numpy(ids)).numpy()
    assert tensor.shape == (2, spec.channels, 16, 16)
    assert tensor[0, 0, 0, 0] == -1
    assert tensor[:, :channels].max() == 1
    for n in range(2):
        assert np.array_equal(tensor[n], network_input(spec, image[n], ids[n]))


def test_half_precision_expansion_keeps_every_edge() -> None:
    """Asking for float16 changes the type of the result, not where the edges are."""
    ids = torch.tensor([[[26001, 26002, 26002]]], dtype=torch.int32)
    assert inputs.edge_map(ids, torch.float16).tolist() == [[[[1, 1, 0]]]]


@pytest.mark.parametrize("value", [-1, 11, 300])
def test_labels_out_of_range_name_value_and_pixel(value: int) -> None:
    """The error names the first bad value, where it is and what is allowed."""
    label = np.zeros((4, 6), np.int16)
    label[2, 5] = value
    with pytest.raises(MapError, match=rf"street\.png: value {value} at x=5, y=2.*0 to 10") as info:
        check_label_map(label, 11, name="street.png")
    assert info.value.reason == "LABEL_OUT_OF_RANGE"


def test_ignored_labels_become_no_class() -> None:
    """Ignored values are zero in every one-hot channel; others are still checked."""
    label = np.array([[255, 1]], np.uint8)
    checked = check_label_map(label, 2, ignore=(255,))
    assert network_input(InputSpec(2, edges=False), checked, checked)[:, 0].tolist() == [
        [0, 0],
        [0, 1],
    ]
    with pytest.raises(MapError, match="254"):
        check_label_map(np.array([[254]]), 2, ignore=(255,))


def test_wide_labels_survive() -> None:
    """16-bit maps with small values are as good as 8-bit ones."""
    assert check_label_map(np.array([[10, 3]], np.uint16), 11).tolist() == [[10, 3]]


def test_instance_size_must_match() -> None:
    """The error gives both sizes, width first."""
    with pytest.raises(MapError, match=r"3x2.*2x2") as info:
        prepare_maps(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.int32), 3)
    assert info.value.reason == "SIZE_MISMATCH"


def test_objects_are_instances_split_by_label() -> None:
    """An id that spans two classes, such as a background of 0, makes two objects."""
    label = np.array([[1, 2, 2]], np.uint8)
    maps = prepare_maps(label, np.array([[0, 0, 33008]]), 3)
    assert maps.index.tolist() == [[0, 1, 2]]
    assert maps.object_labels.tolist() == [1, 2, 2]
    assert maps.object_ids.tolist() == [0, 0, 33008]
    assert edge_map(maps.instance).tolist() == [[False, True, True]]


@pytest.mark.parametrize("ids", [[-5, 70_000], [0, 2**31 - 1]])
def test_any_32_bit_id_is_an_object(ids: list[int]) -> None:
    """Negative and huge ids are numbered like small ones."""
    maps = prepare_maps(np.zeros((1, 2), np.uint8), np.array([ids]), 1)
    assert maps.object_ids.tolist() == sorted(ids)
    assert maps.index.tolist() == [[0, 1]]


def test_regions_stand_in_for_a_missing_instance_map() -> None:
    """Without instances every connected region of a class is one object."""
    label = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 0]], np.uint8)
    maps = prepare_maps(label, None, 2)
    assert len(maps.object_ids) == 3
    assert maps.object_labels[maps.index].tolist() == label.tolist()
    assert connected_regions(label)[0, 0] != connected_regions(label)[0, 2]


def test_a_source_image_without_instances_is_one_object() -> None:
    """A style code then stands for the whole picture, and there is no border in it."""
    image = np.zeros((4, 6, 3), np.uint8)
    maps = prepare_source(image)
    assert maps.size == (4, 6)
    assert maps.object_ids.tolist() == [0]
    assert maps.object_labels.tolist() == [0]
    assert not maps.index.any()
    assert not edge_map(maps.instance).any()


def test_a_source_image_may_come_with_instances() -> None:
    """Every instance is an object; ``prepare_maps`` does the same for a model without labels."""
    image = np.zeros((1, 3, 1), np.uint8)
    ids = np.array([[7, 33008, 7]])
    for maps in (prepare_source(image, ids), prepare_maps(image, ids, 0)):
        assert maps.object_ids.tolist() == [7, 33008]
        assert maps.index.tolist() == [[0, 1, 0]]
        assert np.array_equal(maps.label, image)


def test_source_images_are_checked() -> None:
    """A label map where a picture belongs, and instances of another size, are refused."""
    with pytest.raises(MapError, match=r"sketch\.png: is uint8 of shape \(2, 2\)"):
        prepare_source(np.zeros((2, 2), np.uint8), name="sketch.png")
    with pytest.raises(MapError, match=r"3x2.*2x2"):
        prepare_source(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3), np.int32))


@pytest.mark.parametrize(
    ("given", "legal"), [((1, 1), (32, 32)), ((546, 1000), (560, 1008)), ((64, 64), (64, 64))]
)
def test_legal_size_rounds_up(given: tuple[int, int], legal: tuple[int, int]) -> None:
    """Sizes grow to the next multiple and at least to the minimum."""
    assert legal_size(*given, multiple=16, minimum=32) == legal


def test_padding_mirrors_and_keeps_the_original() -> None:
    """The content stays in place and is mirrored without repeating its border."""
    array = np.arange(6).reshape(2, 3)
    padded = pad_reflect(array, 4, 5)
    assert padded[:2, :3].tolist() == array.tolist()
    assert padded[0].tolist() == [0, 1, 2, 1, 0]
    assert padded[:, 0].tolist() == [0, 3, 0, 3]


def test_padding_mirrors_pictures_channel_by_channel() -> None:
    """A source image is padded like the maps that belong to it."""
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    padded = pad_reflect(image, 8, 16)
    for channel in range(3):
        assert np.array_equal(padded[..., channel], pad_reflect(image[..., channel], 8, 16))


def test_padding_reaches_any_size() -> None:
    """One pixel can be padded to a whole tile."""
    assert pad_reflect(np.array([[7]]), 5, 9).tolist() == [[7] * 9] * 5


def test_mirrored_maps_have_no_new_edge_at_the_seam() -> None:
    """Inside the picture the edges are those of the unpadded map."""
    ids = np.random.default_rng(0).integers(0, 3, (9, 11))
    assert np.array_equal(edge_map(pad_reflect(ids, 16, 16))[:9, :11], edge_map(ids))


def test_output_is_rounded_not_truncated() -> None:
    """-1 is 0, 0 is 128 (127.5 rounds to even), 1 is 255; numpy and torch agree everywhere."""
    assert to_pixels(np.array([-1.0, 0.0, 1.0, 2.0]).reshape(1, 1, 4)).ravel().tolist() == [
        0,
        128,
        255,
        255,
    ]
    values = np.linspace(-1.1, 1.1, 3 * 500, dtype=np.float32).reshape(3, 1, 500)
    tensor = to_pixels_torch(torch.from_numpy(values)[None])[0].numpy()
    assert np.array_equal(tensor, to_pixels(values))
