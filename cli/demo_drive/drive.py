"""The drive: the engine draws, frames leave at its pace, photographs come back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cli.demo_drive.render import Pose, Renderer

if TYPE_CHECKING:
    from hdsynth_client.stream import Stream
    from hdsynth_client.stream_events import Dropped, Event, InstanceStyle


@dataclass(frozen=True)
class Shot:
    """A frame that was sent."""

    pose: Pose
    label: NDArray[np.uint8]
    instance: NDArray[np.uint16]


@dataclass
class Drive:
    """What a drive has seen, and the maps of frames that are not answered yet."""

    sent: dict[int, Shot] = field(default_factory=dict)
    photos: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    """(H, W, 3) by frame id, in the order in which they came."""
    drops: list[Dropped] = field(default_factory=list)
    styles: list[InstanceStyle] = field(default_factory=list)

    def note(self, event: Event) -> None:
        """Take an event in. Raises RuntimeError for a frame that the server could not use."""
        from hdsynth_client.stream_events import Dropped, Result

        if isinstance(event, Result):
            self.photos[event.frame_id] = event.photo.pixels
            self.styles += event.new_styles
        elif isinstance(event, Dropped):
            if event.reason == "invalid":
                raise RuntimeError(f"frame {event.frame_id}: {event.code}: {event.detail}")
            self.drops.append(event)

    def forget(self, frame_id: int) -> None:
        """Forget a frame and those before it."""
        self.sent = {number: shot for number, shot in self.sent.items() if number > frame_id}
        self.photos.clear()
        self.drops.clear()
        self.styles.clear()


def drive(stream: Stream, renderer: Renderer, poses: list[Pose], fps: float) -> Drive:
    """Drive along the poses; returns when every frame has been answered.

    ``fps`` is the engine's pace; the stream has to ask for ``raw`` photographs.
    """
    found = Drive()

    def frames() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint16]]]:
        for number, pose in enumerate(poses):
            label, instance = renderer.render(pose)
            found.sent[number] = Shot(pose, label, instance)
            yield label, instance

    for event in stream.pump(frames(), fps):
        found.note(event)
    return found
