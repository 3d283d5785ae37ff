"""From maps to network input and from network output to pixels, in numpy.

The one definition of both, shared by the trainer, the exporter, the parity record and the
server. ``model.inputs`` does the expansion on tensors; a test holds the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.errors import MapError
from model.spec import InputSpec

Scalar = TypeVar("Scalar", bound=np.generic)

NO_CLASS = 255
"""Label value of pixels that belong to no class: zero in every one-hot channel."""

# Keys are indexed through a table, which beats sorting them, unless it would be large, or much
# larger than there are keys.
_TABLE_LIMIT = 1 << 25
_TABLE_SHARE = 8


@dataclass(frozen=True)
class Maps:
    """A checked scene: what every pixel is and which object it belongs to.

    An object is the part of an instance that carries one label. ``index`` numbers the objects
    0 .. M-1; row m of the other arrays describes object m.
    """

    label: NDArray[np.uint8]
    """(H, W) class ids, 255 = no class; (H, W, C) source image for models without labels."""
    instance: NDArray[np.int32]
    """(H, W) instance ids; borders between them are the edge channel."""
    index: NDArray[np.int32]
    """(H, W) object numbers."""
    object_labels: NDArray[np.uint8]
    """(M,) class of each object; 0 for models without labels."""
    object_ids: NDArray[np.int64]
    """(M,) instance id of each object."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.instance.shape
        return height, width


def prepare_maps(
    label: NDArray[np.integer],
    instance: NDArray[np.integer] | None,
    label_count: int,
    ignore: tuple[int, ...] = (),
    name: str = "label map",
) -> Maps:
    """Check a label map (H, W) and an optional instance map (H, W) and number the objects.

    Without an instance map every connected region of one class (4-neighbourhood) is taken as an
    instance. Labels in ``ignore`` become "no class". With a ``label_count`` of 0, ``label`` is a
    source image: see ``prepare_source``. Raises MapError (LABEL_OUT_OF_RANGE, SIZE_MISMATCH) with
    the value and the pixel.
    """
    if not label_count:
        return prepare_source(label, instance, name)
    checked = check_label_map(label, label_count, ignore, name)
    if instance is None:
        ids = connected_regions(checked)
    else:
        _require_same_size(instance, label, name)
        ids = instance.astype(np.int32, copy=False)
    return number_objects(checked, ids)


def number_objects(label: NDArray[np.uint8], instance: NDArray[np.int32]) -> Maps:
    """Number the objects of a checked label map (H, W) and an instance map (H, W)."""
    ids, labels = instance.ravel(), label.ravel()
    # Objects are areas: what is sorted is one key per run of equal pixels, not one per pixel.
    begins = np.empty(ids.size, bool)
    begins[:1] = True
    np.not_equal(ids[1:], ids[:-1], out=begins[1:])
    begins[1:] |= labels[1:] != labels[:-1]
    starts = np.flatnonzero(begins)
    keys, index = _dense_index(ids[starts].astype(np.int64) * 256 + labels[starts])
    index = np.repeat(index, np.diff(starts, append=ids.size)).reshape(instance.shape)
    return Maps(label, instance, index, (keys % 256).astype(np.uint8), keys // 256)


def prepare_source(
    image: NDArray[np.integer],
    instance: NDArray[np.integer] | None = None,
    name: str = "source image",
) -> Maps:
    """Check a source image (H, W, C) uint8 and an optional instance map (H, W).

    It stands in for the label map of models without labels. Without an instance map the whole
    picture is one instance, with the id 0. Raises MapError (INVALID_IMAGE, SIZE_MISMATCH).
    """
    if image.dtype != np.uint8 or image.ndim != 3:
        raise MapError(
            "INVALID_IMAGE",
            f"{name}: is {image.dtype} of shape {image.shape}; this model has no labels but takes "
            "a picture, uint8 (height, width, channels)",
        )
    if instance is None:
        ids = np.zeros(image.shape[:2], np.int32)
    else:
        _require_same_size(instance, image, name)
        ids = instance.astype(np.int32)
    keys, index = _dense_index(ids.astype(np.int64))
    return Maps(image.astype(np.uint8, copy=False), ids, index, np.zeros(len(keys), np.uint8), keys)


def check_label_map(
    label: NDArray[np.integer],
    label_count: int,
    ignore: tuple[int, ...] = (),
    name: str = "label map",
) -> NDArray[np.uint8]:
    """Return the label map (H, W) as bytes, with the labels in ``ignore`` as ``NO_CLASS``.

    Raises MapError LABEL_OUT_OF_RANGE naming the first offending value and its pixel.
    """
    if label.min() >= 0 and label.max() < label_count:
        return label.astype(np.uint8, copy=False)
    wrong = (label < 0) | (label >= label_count)
    ignored = np.isin(label, ignore)
    wrong &= ~ignored
    if wrong.any():
        y, x = np.unravel_index(int(wrong.argmax()), label.shape)
        raise MapError(
            "LABEL_OUT_OF_RANGE",
            f"{name}: value {label[y, x]} at x={x}, y={y} is no class; this model has "
            f"{label_count} classes, 0 to {label_count - 1}"
            + (f", and ignores {', '.join(map(str, ignore))}" if ignore else ""),
        )
    return np.where(ignored, NO_CLASS, label).astype(np.uint8)


def connected_regions(label: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Number the connected regions of equal label: (H, W) int32 ids from 0."""
    regions = np.zeros(label.shape, np.int32)
    count = 0
    for value in np.unique(label):
        found, n = ndimage.label(label == value)
        regions += np.where(found > 0, found + (count - 1), 0).astype(np.int32)
        count += n
    return regions


def edge_map(instance: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark every pixel of (H, W) ids with a 4-neighbour inside the image of another id."""
    edges = np.zeros(instance.shape, bool)
    vertical = instance[1:] != instance[:-1]
    horizontal = instance[:, 1:] != instance[:, :-1]
    edges[1:] |= vertical
    edges[:-1] |= vertical
    edges[:, 1:] |= horizontal
    edges[:, :-1] |= horizontal
    return edges


def network_input(
    spec: InputSpec,
    label: NDArray[np.uint8],
    instance: NDArray[np.integer],
    style_index: NDArray[np.integer] | None = None,
    style_table: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Assemble the generator's input (spec.channels, H, W) float32 from maps (H, W).

    Channel order: one-hot labels, edges, then the code ``style_table`` (M, C) of every pixel's
    object. Where ``spec.label_count`` is 0, ``label`` is the source image (H, W, image_channels),
    which takes the place of the one-hot labels in [-1, 1]. Discriminators get the same without
    styles.
    """
    if spec.label_count:
        planes = [(label[None] == np.arange(spec.label_count)[:, None, None]).astype(np.float32)]
    else:
        planes = [label.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1.0]
    if spec.edges:
        planes.append(edge_map(instance)[None].astype(np.float32))
    if style_index is not None and style_table is not None:
        planes.append(style_table[style_index].transpose(2, 0, 1).astype(np.float32))
    return np.concatenate(planes)


def legal_size(height: int, width: int, multiple: int, minimum: int) -> tuple[int, int]:
    """Smallest legal (height, width) that holds the given one, in pixels."""
    up = [max(minimum, -(-side // multiple) * multiple) for side in (height, width)]
    return up[0], up[1]


def pad_reflect(array: NDArray[Scalar], height: int, width: int) -> NDArray[Scalar]:
    """Extend (h, w[, C]) at the bottom and right to (height, width) by mirroring its content.

    Cropping the network's output to (h, w) undoes it.
    """
    down, right = height - array.shape[0], width - array.shape[1]
    if not down and not right:
        return array
    return np.pad(array, ((0, down), (0, right), (0, 0))[: array.ndim], mode="reflect")


def to_pixels(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Turn network output (3, H, W) in [-1, 1] into pixels (H, W, 3) by rounding."""
    levels = np.rint((image.astype(np.float32) + 1.0) * 127.5).clip(0, 255)
    pixels: NDArray[np.uint8] = levels.astype(np.uint8).transpose(1, 2, 0)
    return pixels


def _dense_index(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Distinct keys in ascending order, and for every key its place among them."""
    lowest = int(keys.min())
    span = int(keys.max()) - lowest + 1
    if span > min(_TABLE_LIMIT, _TABLE_SHARE * keys.size):
        distinct, inverse = np.unique(keys, return_inverse=True)
        return distinct, inverse.reshape(keys.shape).astype(np.int32)
    present = np.zeros(span, bool)
    present[keys - lowest] = True
    places = np.cumsum(present, dtype=np.int32) - 1
    return np.flatnonzero(present) + lowest, places[keys - lowest]


def _require_same_size(
    instance: NDArray[np.integer], label: NDArray[np.integer], name: str
) -> None:
    if instance.shape != label.shape[:2]:
        raise MapError(
            "SIZE_MISMATCH",
            f"instance map is {_size(instance)} pixels, but {name} is {_size(label)}; "
            "both must show the same scene at the same size",
        )


def _size(array: NDArray[np.generic]) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
