"""The models that requests can use, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from service.errors import ServiceError
from service.jobs import Job, Photo
from service.judge import require_faithful
from service.pipeline import Pipeline, StageTimes
from service.result_cache import ResultCache, job_key
from service.schemas import ModelDescription, ModelStatus


@dataclass(frozen=True)
class Answer:
    """The photograph of a job."""

    photo: Photo
    cached: bool
    """Whether it had been made before, for the same job."""


class Users:
    """Counts the requests that have a model in their hands. Belongs to one event loop."""

    def __init__(self) -> None:
        self._count, self._changed = 0, asyncio.Event()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count one for as long as the block lasts."""
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            self._changed.set()

    async def gone(self) -> None:
        """Wait until there are none."""
        while self._count:
            self._changed.clear()
            await self._changed.wait()


@dataclass(frozen=True, eq=False)
class ServedModel:
    """What requests use once a model is ready."""

    pipeline: Pipeline
    description: ModelDescription
    cache: ResultCache = field(default_factory=lambda: ResultCache(0))
    users: Users = field(default_factory=Users)
    """Its engine is not ended before they are gone."""

    async def synthesize(self, job: Job, times: StageTimes) -> Answer:
        """Return the photograph of a job; fills ``times`` stage by stage if it has to be made.

        Raises ServiceError, among others UNFAITHFUL.
        """
        answer = await self._answer(job, times)
        require_faithful(answer.photo, job)
        return answer

    async def _answer(self, job: Job, times: StageTimes) -> Answer:
        if not self.cache.enabled:
            return Answer(await self.pipeline.synthesize(job, times), cached=False)
        key = await self.pipeline.read(job, job_key, job, self.description.version)
        photo = self.cache.get(key)
        if photo is not None:
            return Answer(photo, cached=True)
        photo = await self.pipeline.synthesize(job, times)
        self.cache.put(key, photo)
        return Answer(photo, cached=False)


class Models:
    """The models being served; the first one is the default. Belongs to one event loop."""

    def __init__(self) -> None:
        self._models: dict[str, ServedModel] = {}
        self._status: dict[str, ModelStatus] = {}
        self._has_served = False

    def put(self, model: ServedModel) -> ServedModel | None:
        """Serve a model from now on, in place of the one of its name, which is returned."""
        about = model.description
        older = self._models.get(about.name)
        self._models[about.name], self._has_served = model, True
        self.note(ModelStatus(name=about.name, version=about.version, state="ready"))
        return older

    def remove(self, name: str) -> ServedModel | None:
        """Stop to serve a model and forget it; returns it. Raises ServiceError MODEL_NOT_FOUND."""
        if name not in self._status:
            raise self._unknown(name)
        del self._status[name]
        return self._models.pop(name, None)

    def note(self, status: ModelStatus) -> None:
        """Remember where the loading of a model stands."""
        self._status[status.name] = status

    def version(self, name: str) -> str:
        """Return the version of a model that is served, empty for none."""
        model = self._models.get(name)
        return model.description.version if model else ""

    def get(self, name: str = "", version: str = "") -> ServedModel:
        """Return a model; empty = the default, and whichever version is served.

        Raises ServiceError MODEL_LOADING or MODEL_NOT_FOUND. Work on it within ``use``.
        """
        status = self._status.get(name)
        is_loading = status is not None and status.state == "loading"
        if name not in self._models and (is_loading or not self._has_served):
            raise ServiceError("MODEL_LOADING", "the model is being loaded; ask again in a moment")
        model = self._models.get(name) if name else next(iter(self._models.values()), None)
        if model is None:
            raise self._unknown(name)
        if version not in ("", model.description.version):
            raise ServiceError(
                "MODEL_NOT_FOUND",
                f"model: {model.description.name} is served in version "
                f"{model.description.version}, not {version[:100]!r}",
            )
        return model

    @contextmanager
    def use(self, name: str = "", version: str = "") -> Iterator[ServedModel]:
        """Have a model, as ``get`` finds it, whose engine is there until the end of the block."""
        model = self.get(name, version)
        with model.users.one_more():
            yield model

    @property
    def ready(self) -> bool:
        """Whether every model that is served has an engine at work; False without models."""
        models = self._models.values()
        return bool(models) and all(model.pipeline.ready for model in models)

    def health(self) -> dict[str, bool]:
        """Say of every model that is known whether requests to it are welcome."""
        models = self._models
        return {name: name in models and models[name].pipeline.ready for name in self._status}

    async def close(self) -> None:
        """End the engines."""
        await asyncio.gather(*(model.pipeline.close() for model in self._models.values()))

    def all(self) -> list[ServedModel]:
        """Return all models, the default first. Raises ServiceError MODEL_LOADING."""
        if not self._has_served:
            self.get()
        return [*self._models.values()]

    def has(self, pipeline: Pipeline) -> bool:
        """Whether new requests come to a pipeline."""
        return any(model.pipeline is pipeline for model in self._models.values())

    def status(self) -> list[ModelStatus]:
        """Say of every model that is known where it stands."""
        return [*self._status.values()]

    def _unknown(self, name: str) -> ServiceError:
        known = ", ".join(self._models) or "no models"
        return ServiceError("MODEL_NOT_FOUND", f"model: {name[:100]!r} is none of {known}")
