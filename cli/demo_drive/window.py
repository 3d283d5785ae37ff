"""A window of Panda3D that shows what is sent and what comes back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cli.demo_drive.drive import Drive, Shot
from cli.demo_drive.picture import GAP, side_by_side
from cli.demo_drive.render import Renderer, load_panda, pose_at

if TYPE_CHECKING:
    from hdsynth_client.stream import Stream


def show(stream: Stream, renderer: Renderer, fps: float, speed: float) -> None:
    """Drive until the window is closed; every photograph is shown beside its own label map.

    ``fps`` is the engine's pace, ``speed`` in metres a second. Raises RuntimeError without a
    display.
    """
    window, found = _Window(renderer), Drive()
    started, number = time.monotonic(), 0
    while window.is_open:
        elapsed = time.monotonic() - started
        pose = pose_at(elapsed, speed)
        label, instance = renderer.render(pose)
        frame_id = stream.send(label, instance)
        found.sent[frame_id] = Shot(pose, label, instance)
        for event in stream.poll():
            found.note(event)
        if found.photos:
            newest = max(found.photos)
            window.picture(np.asarray(side_by_side(found.sent[newest].label, found.photos[newest])))
            found.forget(newest)
        number += 1
        time.sleep(max(0.0, started + number / fps - time.monotonic()))
    window.close()


class _Window:
    """One picture, as wide as two."""

    def __init__(self, renderer: Renderer) -> None:
        core = load_panda()
        self._texture = core.Texture("picture")
        self._renderer = renderer
        wide, height = 2 * renderer.size[0] + GAP, renderer.size[1]
        # The software renderer takes textures whose sides are powers of two, and repeats them: one
        # pixel more, so that the last row does not shine through at the first.
        self._pixels = np.zeros((_power_of_two(height + 1), _power_of_two(wide + 1), 3), np.uint8)
        properties = core.WindowProperties.size(wide, height)
        properties.setTitle("hdsynth: label map | photograph")
        self._window = renderer.engine.makeOutput(
            renderer.pipe, "window", 10, core.FrameBufferProperties.getDefault(), properties,
            core.GraphicsPipe.BFRequireWindow,
        )  # fmt: skip
        if self._window is None:
            raise RuntimeError("no window could be opened here; use --headless")
        card = core.CardMaker("picture")
        card.setFrameFullscreenQuad()
        card.setUvRange((0, 0), (wide / self._pixels.shape[1], height / self._pixels.shape[0]))
        scene = core.NodePath("window")
        scene.attachNewNode(card.generate()).setTexture(self._texture)
        lens = core.OrthographicLens()
        lens.setFilmSize(2, 2)
        lens.setNearFar(-10, 10)
        camera = scene.attachNewNode(core.Camera("window", lens))
        self._window.makeDisplayRegion().setCamera(camera)

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it."""
        return not self._window.isClosed()

    def close(self) -> None:
        """Free the window: one that is left open breaks the engine's end."""
        self._renderer.engine.removeWindow(self._window)

    def picture(self, pixels: NDArray[Any]) -> None:
        """Show pixels (H, W, 3) from the next frame on."""
        core, kept = load_panda(), self._pixels
        # Panda3D's rows run from bottom to top, and its colours from blue to red.
        rows, columns = pixels.shape[:2]
        kept[:rows, :columns] = pixels[::-1, :, ::-1]
        kept[rows, :columns], kept[-1, :columns] = kept[rows - 1, :columns], kept[0, :columns]
        height, width = kept.shape[:2]
        self._texture.setup2dTexture(width, height, core.Texture.TUnsignedByte, core.Texture.FRgb)
        self._texture.setRamImage(kept.tobytes())


def _power_of_two(side: int) -> int:
    return 1 << (side - 1).bit_length()
