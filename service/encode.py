"""Styles from photographs: the style encoder of one model, on a thread of its own.

It runs in the server's process, apart from the engine, so that photographs made for others do not
wait for it; one at a time, because one photograph already keeps all cores busy.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.codec import Maps
from model.errors import MapError
from model.onnx_graph import OnnxGraph
from model.photo_io import decode_photo
from model.style_means import mean_codes, object_codes
from model.styles import StyleChoice
from service.errors import ServiceError
from service.synthesizer import Scene

MAX_WAITING = 8
"""Photographs that may wait for the encoder at once."""


@dataclass(frozen=True)
class PhotoStyles:
    """What the encoder has seen in one photograph."""

    instances: dict[int, list[float]]
    """Instance id -> code."""
    classes: dict[str, list[float]]
    """Class name -> mean code of its instances; empty for models without classes."""


class StyleEncoder:
    """The style encoder of one model. Belongs to one event loop."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        self._bundle, self._threads = bundle, threads
        self._thread = ThreadPoolExecutor(1, "style-encoder")
        self._graph: OnnxGraph | None = None
        self._waiting, self._seconds = 0, 0.5

    def require(self) -> None:
        """Raise ServiceError NO_ENCODER if the model takes no styles from photographs."""
        if self._bundle.encoder_engine is None:
            raise ServiceError(
                "NO_ENCODER",
                f"model {self._bundle.name} has no style encoder that can be run; a bundle with "
                "styles gets one from 'hdsynth export'",
            )

    async def codes(self, photo: NDArray[np.uint8], maps: Maps) -> NDArray[np.float32]:
        """Return the code of every object of a photograph (H, W, 3): (M, C) float32 in [-1, 1].

        ``maps`` has its size. Raises ServiceError NO_ENCODER and QUEUE_FULL.
        """
        self.require()
        if self._waiting >= MAX_WAITING:
            raise ServiceError(
                "QUEUE_FULL",
                f"{self._waiting} photographs wait for the style encoder; come back later",
                retry_after_s=self._waiting * self._seconds,
            )
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._run, photo, maps.index)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _run(self, photo: NDArray[np.uint8], index: NDArray[np.int32]) -> NDArray[np.float32]:
        started = perf_counter()
        if self._graph is None:
            engine = self._bundle.encoder_engine
            assert engine is not None
            self._graph = OnnxGraph(self._bundle.path(engine.file), self._threads)
        features = self._graph.run({"photo": photo[None]})[0]
        codes = object_codes(features, index)
        self._seconds = perf_counter() - started
        return codes


def decode_style_photo(
    data: bytes, size: tuple[int, int], max_pixels: int, name: str
) -> NDArray[np.uint8]:
    """Decode a photograph (H, W, 3) of the scene whose height and width are ``size``.

    ``name`` is that of its field. Raises MapError.
    """
    photo = decode_photo(data, max_pixels=max_pixels, name=name)
    if photo.shape[:2] != size:
        raise MapError(
            "SIZE_MISMATCH",
            f"{name}: has {photo.shape[1]}x{photo.shape[0]} pixels, but label has "
            f"{size[1]}x{size[0]}; both must show the same scene at the same size",
        )
    return photo


def with_codes(scene: Scene, codes: NDArray[np.float32], choice: StyleChoice) -> Scene:
    """Give the objects of a scene codes (M, C), but for those whose style was chosen."""
    maps = scene.maps
    chosen = np.isin(maps.object_ids, [*choice.instances])
    chosen |= np.isin(maps.object_labels, [*choice.classes])
    styles = np.where(chosen[:, None], scene.styles, codes).astype(np.float32)
    return replace(scene, styles=styles)


def photo_styles(bundle: Bundle, maps: Maps, codes: NDArray[np.float32]) -> PhotoStyles:
    """Put the codes (M, C) of objects into the words of requests."""
    by_label = mean_codes(codes, maps.index, maps.object_labels) if bundle.classes else {}
    names = bundle.classes.names
    return PhotoStyles(
        mean_codes(codes, maps.index, maps.object_ids),
        # Pixels without a class are objects too, but have no name.
        {names[label]: code for label, code in by_label.items() if label < len(names)},
    )
