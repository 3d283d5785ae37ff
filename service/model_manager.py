"""Loads, replaces and removes models while the server goes on serving.

A new version gets an engine process of its own. Once that has run every bucket it takes over;
requests that have the older one in their hands finish there, and then its process ends. Should
the new one fail to load, nothing has happened.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

from model.bundle import DESCRIPTION, Bundle, load_bundle
from model.bundled import bundled_model_path
from service import samples
from service.batching import Limits
from service.errors import ServiceError
from service.judge import PhotoJudge
from service.model_sources import ModelSource, SourceError, bundle_folder, default_cache
from service.pipeline import Pipeline, PipelineConfig
from service.queue_metrics import forget_queue
from service.result_cache import ResultCache
from service.schemas import ModelDescription, ModelStatus
from service.served import Models, ServedModel
from service.settings import Settings

log = logging.getLogger(__name__)


class ModelManager:
    """What changes the models of a server, one after the other. Belongs to one event loop."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        on_retire: Callable[[ServedModel], Awaitable[None]],
        on_failure: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        """Raises SourceError if the settings name a model that cannot be one, and ``PhotoJudge``'s.

        ``on_retire`` is called when a model has been replaced or removed, to end what would use
        it for long; ``on_failure`` if the engine of a model that is served fails for good.
        """
        self._settings, self._models = settings, models
        self._on_retire, self._on_failure = on_retire, on_failure
        self._judge = PhotoJudge(settings.judge) if settings.judge else None
        texts = settings.model or (str(bundled_model_path()),)
        self._first = [ModelSource.parse(text) for text in texts]
        self._sources: dict[str, ModelSource] = {}
        # So that no more than one engine more than usual takes memory.
        self._turn = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Load the models of the settings. Raises what stands in their way."""
        async with self._turn:
            for source in self._first:
                await self._load_first(source)

    async def load(self, name: str, text: str) -> ServedModel:
        """Serve a model from a source, in place of the one of its name if there is one.

        Raises ServiceError INVALID_FIELD and LOAD_FAILED; whatever was served still is then.
        """
        try:
            source = ModelSource.parse(text)
        except SourceError as error:
            raise ServiceError.at(["source"], "INVALID_FIELD", f"source: {error}") from error
        async with self._turn:
            return await self._replace(name, source)

    async def reload(self, name: str) -> ServedModel:
        """Load a model again from where it came from.

        Raises ServiceError MODEL_NOT_FOUND, MODEL_LOADING and LOAD_FAILED; the model is served
        as before then.
        """
        async with self._turn:
            self._models.get(name)
            return await self._replace(name, self._sources[name])

    async def unload(self, name: str) -> None:
        """Serve a model no longer. Raises ServiceError MODEL_NOT_FOUND."""
        async with self._turn:
            removed = self._models.remove(name)
            self._sources.pop(name, None)
            log.info("%s is not served any more", name)
            if removed is not None:
                forget_queue(name, self._settings.buckets)
                self._in_background(self._retire(removed))

    def reload_changed(self) -> None:
        """Begin to load again, in the background, what is not as it was when it was loaded."""
        self._in_background(self._reload_changed())

    async def close(self) -> None:
        """Wait until the models that were replaced have ended."""
        await asyncio.gather(*self._background, return_exceptions=True)

    # ---- Inside ----------------------------------------------------------------------------

    async def _load_first(self, source: ModelSource) -> None:
        bundle = await self._bundle(source)
        name = source.name or bundle.name
        if name in self._sources:
            raise SourceError(
                f"{source}: there is a model {name} already; write OTHERNAME={source}"
            )
        self._models.note(ModelStatus(name=name, state="loading"))
        self._models.put(await self._serve(replace(bundle, name=name)))
        self._sources[name] = source

    async def _reload_changed(self) -> None:
        async with self._turn:
            for name, source in [*self._sources.items()]:
                try:
                    folder = await self._folder(source)
                    found = sha256((folder / DESCRIPTION).read_bytes()).hexdigest()
                    if not found.startswith(self._models.version(name)):
                        await self._replace(name, source)
                except Exception as error:  # noqa: BLE001, the model is served as it was
                    log.error("%s stays as it was: %s", name, error)  # noqa: TRY400, in one line

    async def _replace(self, name: str, source: ModelSource) -> ServedModel:
        version, started = self._models.version(name), perf_counter()
        self._models.note(ModelStatus(name=name, version=version, state="loading"))
        try:
            bundle = await self._bundle(source)
            model = await self._serve(replace(bundle, name=name))
        except BaseException as error:
            words = " ".join(str(error).split())[:1000] or type(error).__name__
            status = ModelStatus(name=name, version=version, state="failed", reason=words)
            self._models.note(status)
            if not isinstance(error, Exception):
                raise
            log.error("%s could not be loaded: %s", name, words)  # noqa: TRY400, in one line
            raise ServiceError("LOAD_FAILED", f"{name}: {words}") from error
        older, self._sources[name] = self._models.put(model), source
        seconds = perf_counter() - started
        log.info("%s is served in version %s after %.1f s", name, bundle.version, seconds)
        if older is not None:
            self._in_background(self._retire(older))
        return model

    async def _folder(self, source: ModelSource) -> Path:
        cache = self._settings.model_cache or default_cache()
        return await asyncio.to_thread(bundle_folder, source, cache)

    async def _bundle(self, source: ModelSource) -> Bundle:
        return await asyncio.to_thread(load_bundle, await self._folder(source))

    async def _serve(self, bundle: Bundle) -> ServedModel:
        """Start the engine of a bundle and warm it up."""
        settings = self._settings
        limits = Limits(
            max_batch=settings.max_batch,
            max_delay_s=settings.max_delay_ms / 1000,
            max_wait_s=settings.max_wait_s,
        )
        backend, max_pixels = settings.backend, settings.max_pixels
        config = PipelineConfig(
            bundle, backend, settings.threads, settings.buckets, limits, max_pixels, self._judge
        )
        pipeline = Pipeline(config, lambda error: self._engine_failed(pipeline, error))
        await pipeline.start()
        drawn = samples.fits(bundle.classes)
        description = ModelDescription.of(bundle, pipeline.engine_name, max_pixels, samples=drawn)
        return ServedModel(pipeline, description, ResultCache(settings.result_cache_mb << 20))

    def _engine_failed(self, pipeline: Pipeline, error: Exception) -> None:
        # The engine of a model that is served no longer harms nobody.
        if self._models.has(pipeline):
            self._on_failure(error)

    async def _retire(self, model: ServedModel) -> None:
        """End a model that is served no longer once nobody uses it, or the time is over."""
        deadline = monotonic() + self._settings.shutdown_timeout_s
        await self._on_retire(model)
        try:
            async with asyncio.timeout(deadline - monotonic()):
                await model.users.gone()
        except TimeoutError:
            log.warning("%s %s is still used", model.description.name, model.description.version)
        await model.pipeline.drain(max(0.0, deadline - monotonic()))
        log.info("%s %s has ended", model.description.name, model.description.version)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
