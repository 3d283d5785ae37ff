"""The maps that a stream has, and the scene that a frame makes of them.

Whole maps replace what the stream has, tiles change a part of it. Arrays are never written to
once they are kept, because scenes that wait for the engine still show them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from hdsynth.v1 import synthesis_pb2 as pb
from numpy.typing import NDArray

from model.bundle import Bundle
from model.codec import Maps, check_label_map, connected_regions, number_objects, prepare_source
from service.decode import check_size, faults_of, instance_map, scene_map
from service.errors import ServiceError
from service.grpc_messages import map_data
from service.jobs import OutputFormat

Scalar = TypeVar("Scalar", bound=np.generic)
MAX_REDUCTION = 8
CONTEXT = 2
"""Size multiples of the model that are synthesised around a region, and cropped off again."""


@dataclass(frozen=True)
class View:
    """What a frame shows of the stream's maps."""

    label: NDArray[np.uint8]
    """(H, W) checked class ids or (H, W, C) source image, with the context of the region."""
    instance: NDArray[np.int32] | None
    inner: tuple[slice, slice]
    """Rows and columns of the photograph that were asked for."""
    region: pb.Rectangle | None
    """The same in pixels of the whole map; None = all of it."""


class StreamMaps:
    """The label map and the instance map that a stream has. Used by one thread at a time."""

    def __init__(self, bundle: Bundle, max_pixels: int) -> None:
        self._bundle, self._max_pixels = bundle, max_pixels
        self._label: NDArray[np.uint8] | None = None
        self._instance: NDArray[np.int32] | None = None
        self._missed: int | None = None

    def apply(self, frame: pb.Frame) -> None:
        """Take over what a frame changes, all of it or nothing.

        Once a frame could not be taken over, tiles would change the wrong maps: until whole maps
        come, all frames are refused. Raises ServiceError.
        """
        whole = bool(frame.label.data)
        if self._missed is not None and not whole:
            raise ServiceError.at(
                ["label"],
                "MISSING_FIELD",
                f"label: the stream's maps lack frame {self._missed}, which could not be used; "
                "send whole maps",
            )
        try:
            label, instance = self._changed(frame)
        except ServiceError:
            self.miss(frame.frame_id)
            raise
        self._label, self._instance, self._missed = label, instance, None

    def miss(self, frame_id: int) -> None:
        """Note that a frame's changes are lost."""
        self._missed = frame_id

    def view(self, frame: pb.Frame, format_: OutputFormat) -> View:
        """Cut out what a frame shows, reduced if it says so. Raises ServiceError."""
        assert self._label is not None
        step = frame.reduction or 1
        if step > MAX_REDUCTION:
            raise _invalid("reduction", f"is 1 to {MAX_REDUCTION}, or 0 for 1, not {step}")
        height, width = self._label.shape[:2]
        region = _region(frame, width, height)
        multiple = self._bundle.generator.size_multiple
        rows = _Span.of(region.y, region.height, height, step, multiple)
        columns = _Span.of(region.x, region.width, width, step, multiple)
        label = _cut(self._label, rows, columns)
        check_size(self._bundle, label.shape[1], label.shape[0], format_, self._max_pixels)
        return View(
            label,
            None if self._instance is None else _cut(self._instance, rows, columns),
            (rows.inner, columns.inner),
            _shown(rows, columns) if frame.HasField("region") else None,
        )

    # ---- Inside ----------------------------------------------------------------------------

    def _changed(self, frame: pb.Frame) -> tuple[NDArray[np.uint8], NDArray[np.int32] | None]:
        label, instance = self._label, self._instance
        if _is_given(frame.label):
            label = self._read_label(frame.label)
        if _is_given(frame.instance):
            instance = self._read_instance(frame.instance)
        if label is None:
            raise ServiceError.at(
                ["label"], "MISSING_FIELD", "label: the first frame of a stream has whole maps"
            )
        label = _patched(label, frame.label_tiles, self._read_label, "label_tiles")
        if instance is None and frame.instance_tiles:
            raise _invalid("instance_tiles", "change a map that the stream does not have yet")
        if instance is not None:
            tiles = frame.instance_tiles
            instance = _patched(instance, tiles, self._read_instance, "instance_tiles")
            if instance.shape != label.shape[:2]:
                raise ServiceError.at(
                    ["instance"],
                    "SIZE_MISMATCH",
                    f"instance: is {_size(instance)} pixels, but label is {_size(label)}; both "
                    "must show the same scene at the same size",
                )
        return label, instance

    def _read_label(self, given: pb.Map) -> NDArray[np.uint8]:
        spec, data = self._bundle.input, map_data(given, "label")
        with faults_of("label"):
            plane = scene_map(data, spec, self._max_pixels)
            if spec.label_count:
                return check_label_map(plane, spec.label_count, self._bundle.ignore_labels, "label")
            return prepare_source(plane, name="label").label

    def _read_instance(self, given: pb.Map) -> NDArray[np.int32]:
        data = map_data(given, "instance")
        with faults_of("instance"):
            return instance_map(data, self._max_pixels)


def number_scene(view: View, bundle: Bundle) -> Maps:
    """Number the objects of a view; without instances its connected regions are objects."""
    if not bundle.input.label_count:
        return prepare_source(view.label, view.instance)
    instance = connected_regions(view.label) if view.instance is None else view.instance
    return number_objects(view.label, instance)


@dataclass(frozen=True)
class _Span:
    """One side of a region, in steps of the reduction."""

    first: int
    last: int
    """Where the region begins and ends."""
    low: int
    high: int
    """The same with its context."""
    side: int
    """Of the whole map in pixels."""
    step: int

    @classmethod
    def of(cls, start: int, size: int, side: int, step: int, multiple: int) -> _Span:
        """Add the context.

        It begins at a multiple of the model's, so that every pixel lies as in the whole picture.
        """
        first, last = start // step, -(-(start + size) // step)
        low = max(0, first // multiple - CONTEXT) * multiple
        high = min(-(-side // step), (-(-last // multiple) + CONTEXT) * multiple)
        return cls(first, last, low, high, side, step)

    @property
    def inner(self) -> slice:
        """The region within its context."""
        return slice(self.first - self.low, self.last - self.low)

    @property
    def places(self) -> NDArray[np.intp]:
        """The middle pixel of every step."""
        middles = np.arange(self.low, self.high) * self.step + self.step // 2
        return np.minimum(middles, self.side - 1)


def _cut(plane: NDArray[Scalar], rows: _Span, columns: _Span) -> NDArray[Scalar]:
    if rows.step == 1:
        return plane[rows.low : rows.high, columns.low : columns.high]
    return plane[rows.places][:, columns.places]


def _shown(rows: _Span, columns: _Span) -> pb.Rectangle:
    x, y = columns.first * columns.step, rows.first * rows.step
    right = min(columns.side, columns.last * columns.step)
    bottom = min(rows.side, rows.last * rows.step)
    return pb.Rectangle(x=x, y=y, width=right - x, height=bottom - y)


def _region(frame: pb.Frame, width: int, height: int) -> pb.Rectangle:
    """Return the part of the map that a frame wants, all of it if it names none."""
    if not frame.HasField("region"):
        return pb.Rectangle(width=width, height=height)
    given = frame.region
    inside = given.x + given.width <= width and given.y + given.height <= height
    if not (given.width and given.height and inside):
        raise _invalid(
            "region",
            f"{given.width}x{given.height} pixels at x={given.x}, y={given.y} is no part of a "
            f"map of {width}x{height}",
        )
    return given


def _is_given(given: pb.Map) -> bool:
    # Some clients send every message of a frame, those that hold nothing too.
    return bool(given.data) or bool(given.width)


def _patched(
    kept: NDArray[Scalar],
    tiles: Sequence[pb.MapTile],
    read: Callable[[pb.Map], NDArray[Scalar]],
    name: str,
) -> NDArray[Scalar]:
    """Return a map with tiles laid on it. Raises ServiceError."""
    if not tiles:
        return kept
    changed, room = kept.copy(), kept.shape[0] * kept.shape[1]
    for number, tile in enumerate(tiles):
        try:
            part = read(tile.map)
        except ServiceError as error:
            raise _tile_error(name, number, error.reason, error.detail) from error
        height, width = part.shape[:2]
        if tile.y + height > kept.shape[0] or tile.x + width > kept.shape[1]:
            where = f"{_size(part)} pixels at x={tile.x}, y={tile.y}"
            raise _tile_error(name, number, "INVALID_FIELD", f"{where} leave the {_size(kept)} map")
        room -= height * width
        if room < 0:  # small messages could keep the decoders busy for long
            words = "the tiles have more pixels than the map; send it whole"
            raise _tile_error(name, number, "INVALID_FIELD", words)
        changed[tile.y : tile.y + height, tile.x : tile.x + width] = part
    return changed


def _tile_error(name: str, number: int, reason: str, detail: str) -> ServiceError:
    return ServiceError.at([name, number], reason, f"{name}: tile {number}: {detail}")


def _size(plane: NDArray[np.generic]) -> str:
    return f"{plane.shape[1]}x{plane.shape[0]}"


def _invalid(name: str, detail: str) -> ServiceError:
    return ServiceError.at([name], "INVALID_FIELD", f"{name}: {detail}")
