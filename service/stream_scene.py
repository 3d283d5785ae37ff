"""From a frame to a scene that the engine can take, in the decode pool."""

from __future__ import annotations

from dataclasses import dataclass

from hdsynth.v1 import synthesis_pb2 as pb

from model.bundle import Bundle
from model.styles import StyleChoice
from service.decode import faults_of
from service.jobs import OutputFormat
from service.stream_frames import StreamMaps, View, number_scene
from service.stream_styles import StyleMemory
from service.synthesizer import Scene


@dataclass(frozen=True)
class FrameScene:
    """A frame that is ready for the engine."""

    scene: Scene
    view: View
    new_styles: list[pb.InstanceStyle]
    """Of objects whose style the client does not know yet."""


class FrameDecoder:
    """What a stream remembers of its frames: maps and styles. Used by one thread at a time."""

    def __init__(self, bundle: Bundle, max_pixels: int, format_: OutputFormat) -> None:
        self._bundle, self._format = bundle, format_
        self.maps, self._styles = StreamMaps(bundle, max_pixels), StyleMemory(bundle)

    def scene(self, frame: pb.Frame, choice: StyleChoice) -> FrameScene:
        """Make the scene of a frame whose changes ``maps`` has. Raises ServiceError."""
        view = self.maps.view(frame, self._format)
        with faults_of(None):
            maps = number_scene(view, self._bundle)
            codes, news = self._styles.table(maps, choice)
        told = [
            pb.InstanceStyle(
                instance=maps.object_ids[row], label=maps.object_labels[row], code=codes[row]
            )
            for row in news.tolist()
        ]
        return FrameScene(Scene(maps, codes), view, told)
