"""One request from uploaded bytes to an encoded photograph, for every face of the server.

    decode   both maps, checked, with styles chosen    on a pool of threads
    queue    waiting for the engine
    infer    the network                               on one thread: the engine runs one batch
    encode   PNG, JPEG or WebP                         on the pool again

Nothing here blocks the event loop, so the server answers probes while it synthesises.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.codec import legal_size
from model.errors import MapError
from model.image_io import (
    PHOTO_FORMATS,
    FormatName,
    decode_instance_map,
    decode_label_map,
    encode_photo,
)
from model.styles import StyleChoice
from service.errors import ServiceError
from service.synthesizer import Scene, Synthesizer

T = TypeVar("T")
StageTimes = dict[str, float]
"""Seconds that each finished stage took: decode, queue, infer, encode."""

# Which field is at fault when the maps have been read and only the scene is wrong.
_FIELDS = {
    "LABEL_OUT_OF_RANGE": "label",
    "SIZE_MISMATCH": "instance",
    "STYLE_NOT_FOUND": "options",
    "STYLE_INVALID": "options",
}


@dataclass(frozen=True)
class Job:
    """What one caller wants."""

    label: bytes
    """A label map file."""
    instance: bytes | None = None
    """An instance map file."""
    choice: StyleChoice = field(default_factory=StyleChoice)
    format: FormatName = "png"
    quality: int | None = None
    """1..100 for JPEG and WebP; None = the format's default."""


class Pipeline:
    """The stages around one Synthesizer. Belongs to one event loop."""

    def __init__(self, synthesizer: Synthesizer, max_pixels: int) -> None:
        self._synthesizer, self._max_pixels = synthesizer, max_pixels
        self._codec_pool = ThreadPoolExecutor(os.cpu_count() or 1, "codec")
        self._engine_thread = ThreadPoolExecutor(1, "engine")

    @property
    def bundle(self) -> Bundle:
        """The model being served."""
        return self._synthesizer.bundle

    @property
    def engine_name(self) -> str:
        """Backend, provider and precision, for people."""
        return self._synthesizer.engine.name

    async def synthesize(self, job: Job, times: StageTimes) -> bytes:
        """Return the photograph as a file; fills ``times`` stage by stage.

        Raises ServiceError before the engine is used if anything is wrong with the job.
        """
        scene = await self.on_codec_pool(self._decode, job, times)
        image = await self._infer(scene, times)
        return await self.on_codec_pool(self._encode, image, job, times)

    async def on_codec_pool(self, work: Callable[..., T], *arguments: object) -> T:
        """Run short processor-bound work off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._codec_pool, work, *arguments)

    def close(self) -> None:
        """Wait for running work and free the engine."""
        self._engine_thread.shutdown(cancel_futures=True)
        self._codec_pool.shutdown(cancel_futures=True)
        self._synthesizer.engine.close()

    def _decode(self, job: Job, times: StageTimes) -> Scene:
        with _timed("decode", times):
            limit = self._max_pixels
            with _faults_of("label"):
                label = decode_label_map(job.label, max_pixels=limit, name="label")
            instance = None
            if job.instance is not None:
                with _faults_of("instance"):
                    instance = decode_instance_map(job.instance, max_pixels=limit, name="instance")
            self._check_size(label.shape[1], label.shape[0], job.format)
            with _faults_of(None):
                return self._synthesizer.prepare(label, instance, job.choice)

    def _check_size(self, width: int, height: int, format_: FormatName) -> None:
        rule = self.bundle.generator
        padded = legal_size(height, width, rule.size_multiple, rule.minimum_side)
        # A line of 1x2000000 pixels is small, but padded to a legal height it is not.
        if padded[0] * padded[1] > self._max_pixels:
            raise ServiceError.at(
                ["label"],
                "IMAGE_TOO_LARGE",
                f"label: {width}x{height} is padded to {padded[1]}x{padded[0]} = "
                f"{padded[0] * padded[1]} pixels for this model; the limit is {self._max_pixels}",
            )
        longest = PHOTO_FORMATS[format_].max_side
        if max(width, height) > longest:
            raise ServiceError.at(
                ["label"],
                "IMAGE_TOO_LARGE",
                f"label: {width}x{height} pixels do not fit into a {format_} file, whose sides "
                f"end at {longest}; ask for image/png",
            )

    async def _infer(self, scene: Scene, times: StageTimes) -> NDArray[np.uint8]:
        submitted = perf_counter()

        def run() -> NDArray[np.uint8]:
            times["queue"] = perf_counter() - submitted
            with _timed("infer", times):
                return self._synthesizer.run([scene])[0]

        return await asyncio.get_running_loop().run_in_executor(self._engine_thread, run)

    @staticmethod
    def _encode(image: NDArray[np.uint8], job: Job, times: StageTimes) -> bytes:
        with _timed("encode", times):
            return encode_photo(image, job.format, job.quality)


@contextmanager
def _timed(stage: str, times: StageTimes) -> Iterator[None]:
    started = perf_counter()
    try:
        yield
    finally:
        times[stage] = perf_counter() - started


@contextmanager
def _faults_of(field_name: str | None) -> Iterator[None]:
    """Turn a MapError into the ServiceError of a field; None = the field that its reason blames."""
    try:
        yield
    except MapError as error:
        blamed = field_name or _FIELDS[error.reason]
        raise ServiceError.at([blamed], error.reason, str(error)) from error
