"""What one worker of a bulk run does: it loads the engine once, then renders what it is given.

Ray makes these objects in processes of their own; nothing here knows Ray.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from model.bundle import Bundle, BundleError, load_bundle
from model.image_io import FormatName
from model.spec import InputSpec
from model.styles import StyleChoice
from service.backends import load_engine
from service.bulk_render import Item, Outcome, Renderer
from service.bulk_shards import Sample, ShardError, ShardWriter, read_samples
from service.bulk_store import NOTES, Store
from service.engine_errors import is_fatal
from service.model_sources import ModelSource, bundle_folder, default_cache
from service.synthesizer import Synthesizer

log = logging.getLogger(__name__)

SHARD_SUFFIX = ".tar"
SHARD_ERRORS = f"{NOTES}/errors"
"""Folder with a file for every shard in which samples failed."""
_PHOTOS = ("png", "jpg", "jpeg", "webp")
_LABELS = ("label.png", "png")
_SOURCES = (*(f"source.{ending}" for ending in _PHOTOS), *_PHOTOS)
_INSTANCES = tuple(f"instance.{ending}" for ending in ("png", "tif", "tiff", "npy"))

Piece = Mapping[str, Any]
"""Columns of one row, as Ray Data hands them over; in it lists of equal length."""


@dataclass(frozen=True)
class Task:
    """What every worker of a run is told."""

    model: str
    """Folder, archive or URL of the bundle, as seen from the worker."""
    version: str
    """Of the bundle; a worker that finds another one refuses to work."""
    backend: str
    threads: int
    choice: StyleChoice
    source: Store
    target: Store
    format: FormatName = "png"
    quality: int | None = None
    batch: int = 8

    @property
    def ending(self) -> str:
        """Of the photographs' names, with its dot."""
        return ".jpg" if self.format == "jpeg" else f".{self.format}"


class FileWorker:
    """Renders maps that are files: lists ``name``, ``label`` and ``instance`` (empty = none)."""

    def __init__(self, task: Task) -> None:
        self._task, self._renderer = task, load_renderer(task)[1]

    def __call__(self, piece: Piece) -> Iterator[dict[str, list[Any]]]:
        """Render the maps, write the photographs, and tell what became of each."""
        task = self._task
        items = (
            Item(str(name), partial(_read, task.source, str(label), str(instance)))
            for name, label, instance in zip(
                piece["name"][0], piece["label"][0], piece["instance"][0], strict=True
            )
        )

        def write(name: str, photo: bytes) -> None:
            task.target.write(f"{name}{task.ending}", photo)

        with _whole_device():
            began = time.time()
            yield _columns([_row(o.name, o) for o in self._renderer.render(items, write)], began)


class ShardWorker:
    """Renders maps in shards: list ``name``, each a tar file that makes one of the same name."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._spec, self._renderer = load_renderer(task)

    def __call__(self, piece: Piece) -> Iterator[dict[str, list[Any]]]:
        """Render the shards, write theirs, and tell what became of each sample."""
        for shard in piece["name"][0]:
            with _whole_device():
                began = time.time()
                yield _columns(self._render_shard(str(shard)), began)

    def _render_shard(self, shard: str) -> list[dict[str, Any]]:
        try:
            told = self._write_shard(shard)
        except (ShardError, OSError) as error:
            # One row for the shard itself: nothing of it is written, a later run tries it again.
            return [_row(shard, Outcome(shard, error=str(error)), photos=0)]
        return [_row(shard, Outcome(shard), photos=0), *told]

    def _write_shard(self, shard: str) -> list[dict[str, Any]]:
        task = self._task
        rows = []
        with task.source.open(shard) as file, task.target.create(shard) as out:
            writer = ShardWriter(out)
            for outcome in self._renderer.render(_items(file, shard, self._spec)):
                key = outcome.name.removeprefix(f"{shard}/")
                if not outcome.error:
                    writer.add(f"{key}{task.ending}", outcome.photo)
                rows.append(_row(outcome.name, outcome))
            writer.close()
            # Before the shard itself is there: once it is, nobody looks at its samples again.
            lines = [_error_line(row) for row in rows if row["error"]]
            if lines:
                task.target.write(f"{SHARD_ERRORS}/{shard}.jsonl", "".join(lines).encode())
        return rows


def open_model(model: str) -> Bundle:
    """Load a bundle from a folder, archive or URL. Raises BundleError, ImportError, SourceError."""
    return load_bundle(bundle_folder(ModelSource.parse(model), default_cache()))


def load_renderer(task: Task) -> tuple[InputSpec, Renderer]:
    """Load model and engine; raises also BundleError if the model is not that of the run."""
    bundle = open_model(task.model)
    if bundle.version != task.version:
        raise BundleError(
            f"{task.model}: is version {bundle.version} on this machine, but the run is for "
            f"{task.version}; give every machine the same bundle"
        )
    synthesizer = Synthesizer(bundle, load_engine(bundle, task.backend, task.threads))
    renderer = Renderer(synthesizer, task.choice, task.format, task.quality, task.batch)
    return bundle.input, renderer


def _read(store: Store, label: str, instance: str) -> tuple[bytes, bytes | None]:
    return store.read(label), store.read(instance) if instance else None


def _items(file: Any, shard: str, spec: InputSpec) -> Iterator[Item]:
    """Make an item of every sample; one whose key has come before becomes an error."""
    seen: set[str] = set()
    for sample in read_samples(file, shard):
        is_new = sample.key not in seen
        seen.add(sample.key)
        yield Item(f"{shard}/{sample.key}", partial(_sample_maps, sample, spec, is_new))


def _sample_maps(sample: Sample, spec: InputSpec, is_new: bool) -> tuple[bytes, bytes | None]:
    if not is_new:
        raise ShardError(f"{sample.key}: is in the shard twice; the first one was used")
    wanted = _LABELS if spec.label_count else _SOURCES
    label = sample.pick(wanted)
    if label is None:
        raise ShardError(
            f"{sample.key}: has {', '.join(sample.files)} but none of {', '.join(wanted)}"
        )
    return label, sample.pick(_INSTANCES)


def _row(name: str, outcome: Outcome, photos: int = 1) -> dict[str, Any]:
    return {
        "name": name,
        "error": outcome.error,
        "photos": 0 if outcome.error else photos,
        "pixels": outcome.pixels,
        "engine_s": outcome.engine_s,
    }


def _columns(rows: list[dict[str, Any]], began: float) -> dict[str, list[Any]]:
    """Turn rows into columns; ``began`` is when the work on them did, in seconds of the epoch."""
    return {name: [row[name] for row in rows] for name in rows[0]} | {"began": [began] * len(rows)}


@contextmanager
def _whole_device() -> Iterator[None]:
    """End the process if the device has failed for good: only a new one can use it again."""
    try:
        yield
    except Exception as error:
        if is_fatal(error):
            log.critical("the device has failed: %s", error)
            os._exit(1)
        raise


def _error_line(row: Mapping[str, Any]) -> str:
    return json.dumps({"name": row["name"], "error": row["error"]}) + "\n"


def task_settings(task: Task) -> dict[str, Any]:
    """Return what the photographs of a run depend on, for JSON."""
    return {
        "model": task.version,
        "format": task.format,
        "quality": task.quality,
        "styles": json.loads(json.dumps(asdict(task.choice))),
    }
