"""The synthesis core: maps in, photographs out. Knows neither HTTP nor files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.codec import Maps, prepare_maps
from model.styles import StyleChoice, style_table
from service.backends.base import Engine, EngineInput
from service.shared_planes import Array, Form


@dataclass(frozen=True)
class Scene:
    """A checked scene with one style code per object."""

    maps: Maps
    styles: NDArray[np.float32]
    """(M, C) codes; C is 0 for models without styles."""
    key: int = 0
    """Scenes with one key share the normalisation statistics of the first of them; 0 = none."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels; scenes of one size and one model can run as one batch."""
        return self.maps.size


def prepare_scene(
    bundle: Bundle,
    label: NDArray[np.integer],
    instance: NDArray[np.integer] | None = None,
    choice: StyleChoice | None = None,
    name: str = "label map",
) -> Scene:
    """Check a label map (H, W), or a source image (H, W, C), and choose styles.

    Costs no engine time. Raises MapError, in whose message ``name`` stands for the label map.
    """
    spec = bundle.input
    maps = prepare_maps(label, instance, spec.label_count, bundle.ignore_labels, name)
    table = style_table(
        maps,
        bundle.styles,
        spec.style_channels,
        choice or StyleChoice(),
        bundle.scene_styles,
    )
    return Scene(maps, table)


def blank_scene(bundle: Bundle, height: int, width: int) -> Scene:
    """Return a scene of one object, for runs whose result nobody looks at."""
    spec = bundle.input
    channels = () if spec.label_count else (spec.image_channels,)
    return prepare_scene(bundle, np.zeros((height, width, *channels), np.uint8))


def batch_forms(bundle: Bundle, scenes: Sequence[Scene]) -> dict[str, Form]:
    """Return the element type and shape of every array of an EngineInput for scenes of one size.

    Raises ValueError if their sizes differ.
    """
    sizes = {scene.size for scene in scenes}
    if len(sizes) != 1:
        raise ValueError(f"one batch must have one size, not {sorted(sizes)}")
    planes = (len(scenes), *sizes.pop())
    label = scenes[0].maps.label
    forms: dict[str, Form] = {
        "label": (label.dtype.str, (*planes, *label.shape[2:])),
        "instance": ("<i4", planes),
        "scene_key": ("<i8", (len(scenes),)),
    }
    if channels := bundle.input.style_channels:
        rows = max(len(scene.styles) for scene in scenes)
        forms["style_index"] = ("<i4", planes)
        forms["style_table"] = ("<f4", (len(scenes), rows, channels))
    return forms


def fill_batch(scenes: Sequence[Scene], arrays: Mapping[str, Array]) -> None:
    """Copy scenes into the arrays that ``batch_forms`` describes."""
    arrays["scene_key"][...] = [scene.key for scene in scenes]
    sources = {"label": "label", "instance": "instance", "style_index": "index"}
    for name in sources.keys() & arrays.keys():
        for place, scene in zip(arrays[name], scenes, strict=True):
            place[...] = getattr(scene.maps, sources[name])
    if "style_table" in arrays:
        for codes, scene in zip(arrays["style_table"], scenes, strict=True):
            codes[: len(scene.styles)] = scene.styles
            codes[len(scene.styles) :] = 0


class Synthesizer:
    """One model on one engine. Safe to call from several threads; the engine runs one at a time."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.bundle, self.engine = bundle, engine
        self._lock = Lock()

    def prepare(
        self,
        label: NDArray[np.integer],
        instance: NDArray[np.integer] | None = None,
        choice: StyleChoice | None = None,
        name: str = "label map",
    ) -> Scene:
        """Check maps and choose styles: see ``prepare_scene``."""
        return prepare_scene(self.bundle, label, instance, choice, name)

    def run(self, scenes: Sequence[Scene]) -> list[NDArray[np.uint8]]:
        """Synthesise scenes that share one size; returns (H, W, 3) uint8 RGB each."""
        forms = batch_forms(self.bundle, scenes)
        arrays: dict[str, Array] = {
            n: np.empty(shape, dtype) for n, (dtype, shape) in forms.items()
        }
        fill_batch(scenes, arrays)
        with self._lock:
            images = self.engine.run(EngineInput(**arrays))  # type: ignore[arg-type]
        return list(images)

    def warm_up(self, height: int, width: int, batch: int = 1) -> None:
        """Run once at a size, so that the first request does not pay for set-up."""
        self.run([blank_scene(self.bundle, height, width)] * batch)
