"""The engine's side: exact label and instance buffers of the street, without a display."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cli.demo_drive.mesh import Mesh, decode, instance_colour
from cli.demo_drive.street import LENGTH_M

EYE_M = 1.7
PITCH = 10.0
"""Degrees upwards: houses matter more than the road."""
FIELD_OF_VIEW = 75.0
"""Degrees, of the longer side of the picture."""

_SETTINGS = """
notify-level warning
notify-level-x11display fatal
framebuffer-multisample 0
dithering 0
sync-video 0
"""


@dataclass(frozen=True)
class Pose:
    """Where the camera is and where it looks."""

    x: float
    y: float
    turn: float
    """Degrees to the right of the street's direction."""


def pose_at(seconds: float, speed: float, turn: float = 40.0) -> Pose:
    """Drive along the street and back to its start, looking at the houses to the right.

    ``speed`` is in metres a second. The car sways a little, as cars do.
    """
    sway = math.sin(seconds * 0.9)
    return Pose(-1.6 + 0.25 * sway, seconds * speed % LENGTH_M, turn + 1.5 * sway)


class Renderer:
    """Renders label ids and instance ids with Panda3D's software renderer.

    Lights, textures, smoothing and blending are off: every pixel has the one flat colour of its
    object, which is read back as its id. Raises ImportError without the ``demo`` extra.
    """

    def __init__(self, mesh: Mesh, width: int, height: int) -> None:
        core = load_panda()
        self.engine = core.GraphicsEngine.getGlobalPtr()
        self.pipe = core.GraphicsPipeSelection.getGlobalPtr().makeModulePipe("p3tinydisplay")
        if self.pipe is None:
            raise ImportError("Panda3D's software renderer is missing: pip install 'hdsynth[demo]'")
        self.size = width, height
        self._cameras: list[Any] = []
        self._buffers: list[Any] = []
        self._textures = [self._buffer(mesh, of_instances) for of_instances in (False, True)]

    def render(self, pose: Pose) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
        """Return the label map and the instance map, (H, W), that the camera sees."""
        for camera in self._cameras:
            camera.setPosHpr(pose.x, pose.y, EYE_M, -pose.turn, PITCH, 0.0)
        self.engine.renderFrame()
        label, instance = (self._ids(texture) for texture in self._textures)
        return label.astype(np.uint8), instance

    def close(self) -> None:
        """Free the buffers."""
        for buffer in self._buffers:
            self.engine.removeWindow(buffer)

    def _buffer(self, mesh: Mesh, of_instances: bool) -> Any:
        core = load_panda()
        properties = core.FrameBufferProperties()
        properties.setRgbaBits(8, 8, 8, 0)
        properties.setDepthBits(24)
        name = "instance" if of_instances else "label"
        size = core.WindowProperties.size(*self.size)
        flags = core.GraphicsPipe.BFRefuseWindow
        buffer = self.engine.makeOutput(self.pipe, name, 0, properties, size, flags)
        sky = [level / 255 for level in instance_colour(0)]
        buffer.setClearColor((*sky, 1.0))
        texture = core.Texture(name)
        buffer.addRenderTexture(texture, core.GraphicsOutput.RTMCopyRam)
        world = core.NodePath(name)
        street = world.attachNewNode(mesh.node(name, of_instances))
        street.setTwoSided(True)
        lens = core.PerspectiveLens()
        lens.setNearFar(0.4, 120.0)
        longer = math.radians(FIELD_OF_VIEW) / 2
        ratio = min(1.0, self.size[0] / self.size[1])
        lens.setAspectRatio(self.size[0] / self.size[1])
        lens.setFov(2 * math.degrees(math.atan(math.tan(longer) * ratio)))
        camera = world.attachNewNode(core.Camera(name, lens))
        buffer.makeDisplayRegion().setCamera(camera)
        self._cameras.append(camera)
        self._buffers.append(buffer)
        return texture

    def _ids(self, texture: Any) -> NDArray[np.uint16]:
        width, height = self.size
        data = np.frombuffer(texture.getRamImageAs("RGB"), np.uint8)
        # Panda3D's rows run from bottom to top.
        return decode(data.reshape(height, width, 3)[::-1])


def load_panda() -> Any:
    """Import Panda3D with the settings that ids need. Raises ImportError without the extra."""
    try:
        from panda3d import core
    except ImportError as error:
        raise ImportError("the drive needs Panda3D: pip install 'hdsynth[demo]'") from error
    core.loadPrcFileData("", _SETTINGS)
    return core
