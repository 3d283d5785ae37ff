"""The synthesis core: maps in, photographs out. Knows neither HTTP nor files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.codec import Maps, legal_size, pad_reflect, prepare_maps
from model.styles import StyleChoice, style_table
from service.backends.base import Engine, EngineInput


@dataclass(frozen=True)
class Scene:
    """A checked scene with one style code per object."""

    maps: Maps
    styles: NDArray[np.float32]
    """(M, C) codes; C is 0 for models without styles."""


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
        """Check maps (H, W) and choose styles; costs no engine time.

        Raises MapError, in whose message ``name`` stands for the label map.
        """
        spec = self.bundle.input
        maps = prepare_maps(label, instance, spec.label_count, self.bundle.ignore_labels, name)
        table = style_table(
            maps,
            self.bundle.styles,
            spec.style_channels,
            choice or StyleChoice(),
            self.bundle.scene_styles,
        )
        return Scene(maps, table)

    def run(self, scenes: Sequence[Scene]) -> list[NDArray[np.uint8]]:
        """Synthesise scenes that share one legal size; returns (H, W, 3) uint8 RGB each."""
        sizes = {self.padded_size(scene) for scene in scenes}
        if len(sizes) != 1:
            raise ValueError(f"one batch must have one padded size, not {sorted(sizes)}")
        batch = self._batch(scenes, *sizes.pop())
        with self._lock:
            images = self.engine.run(batch)
        return [
            image[: scene.maps.size[0], : scene.maps.size[1]]
            for image, scene in zip(images, scenes, strict=True)
        ]

    def padded_size(self, scene: Scene) -> tuple[int, int]:
        """Legal (height, width) that the scene is padded to: the size of its bucket."""
        rule = self.bundle.generator
        return legal_size(*scene.maps.size, rule.size_multiple, rule.minimum_side)

    def warm_up(self, height: int, width: int) -> None:
        """Run once at a size, so that the first request does not pay for set-up."""
        self.run([self.prepare(np.zeros((height, width), np.uint8))])

    def _batch(self, scenes: Sequence[Scene], height: int, width: int) -> EngineInput:
        def planes(name: str) -> NDArray[np.generic]:
            return np.stack([pad_reflect(getattr(s.maps, name), height, width) for s in scenes])

        label, instance = planes("label"), planes("instance")
        if not self.bundle.input.style_channels:
            return EngineInput(label, instance)  # type: ignore[arg-type]
        rows = max(len(scene.styles) for scene in scenes)
        table = np.zeros((len(scenes), rows, self.bundle.input.style_channels), np.float32)
        for codes, scene in zip(table, scenes, strict=True):
            codes[: len(scene.styles)] = scene.styles
        return EngineInput(label, instance, planes("index"), table)  # type: ignore[arg-type]
