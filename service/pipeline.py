"""One request from the bytes that came in to an encoded photograph, for every face of the server.

    decode   both maps, checked, with styles chosen    on a pool of threads unless they are small
    queue    waiting for the engine                    bounded; see service.scheduler
    infer    the network                               in a process of its own
    encode   PNG, JPEG, WebP or raw pixels             on another pool of threads, likewise

Nothing here holds the event loop for more than a few milliseconds, so the server answers probes
while it synthesises.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.image_io import encode_photo
from service import metrics
from service.batching import Limits
from service.deadlines import until
from service.decode import SMALL_PIXELS, decode_scene, faults_of, is_small
from service.encode import PhotoStyles, StyleEncoder, decode_style_photo, photo_styles, with_codes
from service.engine_batch import EngineConfig, EngineStats, Pixels
from service.engine_process import EngineProcess, EngineState
from service.errors import ServiceError
from service.jobs import Job, Lane, OutputFormat, Photo
from service.judge import PhotoJudge, required_judge
from service.loop_turns import LoopTurns
from service.queue_metrics import watch_queue
from service.scheduler import Scheduler
from service.synthesizer import Scene
from service.worker_threads import WorkerThreads

T = TypeVar("T")
StageTimes = dict[str, float]
"""Seconds that each finished stage took: decode, queue, infer, encode."""


@dataclass(frozen=True)
class PipelineConfig:
    """How one model is served."""

    bundle: Bundle
    backend: str = "onnx"
    threads: int = 0
    """Of one inference; 0 = one per core."""
    buckets: tuple[tuple[int, int], ...] = ((512, 256),)
    """Widths and heights to warm up."""
    limits: Limits = field(default_factory=Limits)
    max_pixels: int = 2048 * 1024
    """Largest scene in pixels, padding to a legal size included."""
    judge: PhotoJudge | None = None
    """Scores the photographs of jobs that ask for it."""


class Pipeline:
    """The stages around the engine of one model. Belongs to one event loop."""

    def __init__(
        self, config: PipelineConfig, on_failure: Callable[[Exception], None] = lambda _: None
    ) -> None:
        """``on_failure`` is called when the engine has failed for good while it served."""
        self.config, self._on_failure = config, on_failure
        sizes = tuple((height, width) for width, height in config.buckets)
        engine = EngineConfig(
            config.bundle, config.backend, config.threads, sizes, config.limits.max_batch
        )
        self._engine = EngineProcess(engine, self._engine_changed)
        self.scheduler = Scheduler(config.bundle.name, [self._engine], config.limits)
        threads = os.cpu_count() or 1
        # Apart, so that photographs that are done do not wait behind maps that have just come.
        self._decoders = WorkerThreads(threads, "decode")
        self._encoders = WorkerThreads(threads, "encode")
        self._small_decodes, self._small_encodes = LoopTurns(), LoopTurns()
        self._style_encoder = StyleEncoder(config.bundle, config.threads)
        self._accepted = self._decoding = 0
        self._is_draining = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def start(self) -> None:
        """Start the engine and wait until it is warm.

        Raises EngineLoadError, or EngineLostError if its process ends while it loads.
        """
        try:
            await self._engine.start()
        except BaseException:
            await self.close()
            raise
        # Not sooner: until then the gauges show the model that this one may take the place of.
        watch_queue(self.scheduler, self.config.buckets)

    @property
    def bundle(self) -> Bundle:
        """The model being served."""
        return self.config.bundle

    @property
    def engine_name(self) -> str:
        """Backend, provider and precision, for people."""
        assert self._engine.about is not None
        return self._engine.about.name

    @property
    def engine_pid(self) -> int | None:
        """Process id of the engine."""
        return self._engine.pid

    @property
    def ready(self) -> bool:
        """Whether requests are welcome: the engine is at work and not about to stop."""
        return self.scheduler.ready and not self._is_draining

    @property
    def failure(self) -> Exception | None:
        """Why the engine will never work again; None = it does, or will."""
        return self._engine.failure

    async def synthesize(self, job: Job, times: StageTimes) -> Photo:
        """Return the photograph; fills ``times`` stage by stage.

        Cancel the task when the caller leaves. Raises ServiceError: for whatever is wrong with
        the job before the engine is used, QUEUE_FULL and DEADLINE_UNREACHABLE with the time to
        come back, DEADLINE_EXCEEDED, DRAINING and ENGINE_LOST. Raises EngineFaultError, which is
        nobody's business but the log's, if the engine fails on the scene.
        """
        with self._accept():
            judge = required_judge(self.config.judge, job, self.bundle)
            async with until(job.deadline):
                self.require_room(job.lane, job.deadline)
                scene = await self.decode(job, times)
                pixels = await self.infer(scene, times, job.lane, deadline=job.deadline)
                photo = await self.encode(pixels, job.format, job.quality, times)
                if judge is None:
                    return photo
                score = await self._encoders.run(judge.score, scene.maps.label, pixels)
                return replace(photo, faithfulness=score)

    def require_room(self, lane: Lane = Lane.INTERACTIVE, deadline: float | None = None) -> None:
        """Refuse work that would wait too long: see ``Scheduler.require_room``."""
        self.scheduler.require_room(lane, deadline, self._decoding)

    async def decode(self, job: Job, times: StageTimes) -> Scene:
        """Read and check a job's maps and choose its styles. Raises ServiceError."""
        self._decoding += 1
        try:
            with timed("decode", times):
                scene = await self.read(job, decode_scene, job, self.bundle, self.config.max_pixels)
                if job.style_photo is None:
                    return scene
                codes = await self._codes(scene, job.style_photo, "style_photo")
                return with_codes(scene, codes, job.choice)
        finally:
            self._decoding -= 1

    async def encode_styles(self, job: Job, photo: bytes, times: StageTimes) -> PhotoStyles:
        """Return the styles of a job's objects in a photograph, a file.

        Raises ServiceError, among others NO_ENCODER.
        """
        with self._accept(), timed("decode", times):
            self._style_encoder.require()
            scene = await self.on_codec_pool(decode_scene, job, self.bundle, self.config.max_pixels)
            codes = await self._codes(scene, photo, "photo")
            return await self.on_codec_pool(photo_styles, self.bundle, scene.maps, codes)

    async def _codes(self, scene: Scene, photo: bytes, name: str) -> NDArray[np.float32]:
        self._style_encoder.require()
        with faults_of(name):
            pixels = await self.on_codec_pool(
                decode_style_photo, photo, scene.size, self.config.max_pixels, name
            )
        return await self._style_encoder.codes(pixels, scene.maps)

    async def infer(
        self,
        scene: Scene,
        times: StageTimes,
        lane: Lane = Lane.INTERACTIVE,
        key: Hashable = None,
        deadline: float | None = None,
        on_start: Callable[[], None] = lambda: None,
    ) -> Pixels:
        """Return the photograph of a scene, (H, W, 3) uint8: see ``Scheduler.submit``."""
        result = await self.scheduler.submit(scene, lane, key, deadline, on_start)
        times["queue"], times["infer"] = result.queue_s, result.infer_s
        for stage in ("queue", "infer"):
            metrics.stage_seconds(stage).observe(times[stage])
        return result.pixels

    async def encode(
        self, pixels: Pixels, format_: OutputFormat, quality: int | None, times: StageTimes
    ) -> Photo:
        """Encode a photograph (H, W, 3) uint8."""
        try:
            with timed("encode", times):
                height, width, _ = pixels.shape
                small = height * width <= SMALL_PIXELS
                place = self._small_encodes if small else self._encoders
                return await place.run(_encode, pixels, format_, quality)
        except asyncio.CancelledError:
            metrics.CANCELLED.labels("encode").inc()
            raise

    async def read(self, job: Job, work: Callable[..., T], *arguments: object) -> T:
        """Do work that takes as long as a job's maps are large: on the loop, or on the pool."""
        place = self._small_decodes if is_small(job) else self._decoders
        return await place.run(work, *arguments)

    async def on_codec_pool(self, work: Callable[..., T], *arguments: object) -> T:
        """Run short processor-bound work off the event loop."""
        return await self._decoders.run(work, *arguments)

    async def stats(self) -> EngineStats:
        """Ask the engine what it has run since it was loaded. Raises EngineLostError."""
        return await self._engine.stats()

    async def drain(self, timeout_s: float) -> None:
        """Take no more work, let what was taken finish, and end the engine.

        What has not finished after ``timeout_s`` seconds fails with ENGINE_LOST.
        """
        self._is_draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_idle.wait()
                await self.scheduler.drain()
        except TimeoutError:
            pass
        await self.close()

    async def close(self) -> None:
        """End the engine now; work that it has fails with ENGINE_LOST."""
        await self._engine.close()
        self._style_encoder.close()
        self._decoders.close()
        self._encoders.close()

    def _engine_changed(self, engine: EngineProcess) -> None:
        model = self.bundle.name
        match engine.state:
            case EngineState.RUNNING:
                metrics.ENGINE_LOAD_SECONDS.labels(model).observe(engine.load_seconds)
                metrics.ENGINE.labels(model).info({"engine": self.engine_name})
            case EngineState.LOADING:  # again
                metrics.ENGINE_RESTARTS.labels(model).inc()
            case EngineState.FAILED if engine.about and engine.failure:
                self._on_failure(engine.failure)
        self.scheduler.engine_changed(engine)

    @contextmanager
    def _accept(self) -> Iterator[None]:
        if self._is_draining:
            raise ServiceError("DRAINING", "the server is about to stop; ask another one")
        self._accepted += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._accepted -= 1
            if not self._accepted:
                self._is_idle.set()


def _encode(pixels: Pixels, format_: OutputFormat, quality: int | None) -> Photo:
    height, width, _ = pixels.shape
    data = pixels.tobytes() if format_ == "raw" else encode_photo(pixels, format_, quality)
    return Photo(data, format_, width, height)


@contextmanager
def timed(stage: str, times: StageTimes) -> Iterator[None]:
    """Note how long a stage takes, in ``times`` and in the metrics."""
    started = perf_counter()
    try:
        yield
    finally:
        times[stage] = perf_counter() - started
        metrics.stage_seconds(stage).observe(times[stage])
