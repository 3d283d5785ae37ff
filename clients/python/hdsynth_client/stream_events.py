"""What a stream tells its caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hdsynth_client._wire import synthesis_pb2 as pb
from hdsynth_client.rpc import photo_of
from hdsynth_client.types import Photo

Reason = Literal["superseded", "expired", "overloaded", "invalid", "lost"]

_REASONS: dict[int, Reason] = {
    pb.DROP_REASON_SUPERSEDED: "superseded",
    pb.DROP_REASON_EXPIRED: "expired",
    pb.DROP_REASON_OVERLOADED: "overloaded",
    pb.DROP_REASON_INVALID: "invalid",
}


@dataclass(frozen=True)
class Rectangle:
    """A part of a map, in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Ready:
    """The server takes frames; comes again whenever the stream has been opened anew."""

    session_id: str
    model: str
    model_version: str
    window: int
    """Ordered delivery: frames that may wait for their result at once."""


@dataclass(frozen=True)
class InstanceStyle:
    """The style code that an instance keeps for the rest of the stream."""

    instance: int
    label: int
    code: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """The photograph of a frame."""

    frame_id: int
    capture_time_us: int
    """As it was sent with the frame."""
    photo: Photo
    age_s: float
    """Seconds from the frame's arrival at the server to this message."""
    region: Rectangle | None
    """What the photograph shows; None = all of the frame."""
    new_styles: tuple[InstanceStyle, ...]
    """Of instances that the stream shows for the first time, or with another style."""


@dataclass(frozen=True)
class Dropped:
    """A frame that brings no photograph."""

    frame_id: int
    reason: Reason
    """superseded: a newer one took its place; lost: the stream ended before it was answered."""
    code: str = ""
    """Of an invalid frame: the stable code, such as LABEL_OUT_OF_RANGE."""
    detail: str = ""
    """Of an invalid frame: the field, the offending value and the fix."""


@dataclass(frozen=True)
class Pacing:
    """The server can follow this pace; faster frames are dropped."""

    frames_per_second: float


@dataclass(frozen=True)
class GoAway:
    """The server is about to stop and takes no more frames."""

    drain_s: float
    """Seconds until the stream ends."""


Event = Ready | Result | Dropped | Pacing | GoAway


def event_of(response: pb.SynthesizeStreamResponse, model_version: str) -> Event | None:
    """Read a message but a drop notice; None for a heartbeat, and for what newer clients know."""
    match response.WhichOneof("message"):
        case "ready":
            ready = response.ready
            return Ready(ready.session_id, ready.model, ready.model_version, ready.window)
        case "result":
            return _result(response.result, model_version)
        case "pacing":
            return Pacing(response.pacing.frames_per_second)
        case "go_away":
            return GoAway(response.go_away.drain_s)
    return None


def drop_of(notice: pb.FrameDropped, frame_id: int) -> Dropped:
    """Read what a drop notice says of one of its frames."""
    reason = _REASONS.get(notice.reason, "invalid")
    return Dropped(frame_id, reason, notice.error.reason, notice.error.message)


def _result(message: pb.FrameResult, model_version: str) -> Result:
    region = message.region
    shown = Rectangle(region.x, region.y, region.width, region.height)
    return Result(
        frame_id=message.frame_id,
        capture_time_us=message.capture_time_us,
        photo=photo_of(message.photo, model_version, message.seconds),
        age_s=message.age,
        region=shown if message.HasField("region") else None,
        new_styles=tuple(
            InstanceStyle(style.instance, style.label, tuple(style.code))
            for style in message.new_styles
        ),
    )
