"""Compiled engines on disk: what an engine was built from, and whether it may be used here.

    facades-sm89-tensorrt_rtx-3f2a91c05b7d.engine   what TensorRT built
    facades-sm89-tensorrt_rtx-3f2a91c05b7d.json     its manifest: the key, the hash, the parity

An engine runs only on the graph, TensorRT version and kind of GPU that it was built for. ``find``
returns one that fits or says why there is none; nothing here builds. Free of torch and TensorRT.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.bundle import Parity, file_hash
from model.engine_key import EngineKey, EngineRejectedError, Profile, Rejection, file_name
from model.spec import spec_from_dict

FORMAT = 1
CACHE_VARIABLE = "HDSYNTH_ENGINE_CACHE"


@dataclass(frozen=True)
class StoredEngine:
    """An engine file with what is known about it."""

    path: Path
    key: EngineKey
    sha256: str
    parity: Parity | None = None
    """Against torch, measured on the GPU; None = it was built where it cannot run."""


def default_cache() -> Path:
    """Folder for engines: $HDSYNTH_ENGINE_CACHE, else in the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hdsynth" / "engines"


def store(folder: Path, key: EngineKey, engine: bytes | memoryview) -> StoredEngine:
    """Put an engine with its manifest into the cache, replacing the one with the same key.

    Each file appears in one step, the manifest last: a broken-off build leaves no engine behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key.stem}.engine"
    path.with_suffix(".json").unlink(missing_ok=True)
    write_atomically(path, engine)
    stored = StoredEngine(path, key, hashlib.sha256(engine).hexdigest())
    write_manifest(stored)
    return stored


def write_manifest(stored: StoredEngine) -> None:
    """Write or replace the manifest beside an engine, such as after its parity was measured."""
    data = {
        "format": FORMAT,
        "key": dataclasses.asdict(stored.key),
        "sha256": stored.sha256,
        "parity": dataclasses.asdict(stored.parity) if stored.parity else None,
    }
    text = json.dumps(data, indent=1) + "\n"
    write_atomically(stored.path.with_suffix(".json"), text.encode())


def find(folder: Path, wanted: EngineKey) -> StoredEngine:
    """Return an intact engine for ``wanted`` from the cache.

    Raises EngineRejectedError with the reason why the one that comes closest cannot be used.
    """
    candidates = [_judge(path, wanted) for path in sorted(folder.glob("*.json"))]
    ours = [found for found in candidates if found is not None]
    if not ours:
        raise EngineRejectedError(
            Rejection.MISSING, f"no engine for {wanted.model!r} has been built in {folder}"
        )
    # The one with the least against it is the one to explain.
    hit, rejections = min(ours, key=lambda found: len(found[1]))
    if not rejections and hit is not None:
        return hit
    raise rejections[0]


def _judge(
    manifest: Path, wanted: EngineKey
) -> tuple[StoredEngine | None, list[EngineRejectedError]] | None:
    """What speaks against an engine; None = it belongs to another model."""
    try:
        stored = read_manifest(manifest)
    except (ValueError, KeyError, TypeError, OSError) as error:
        if not manifest.name.startswith(f"{file_name(wanted.model)}-sm"):
            return None
        return None, [EngineRejectedError(Rejection.CORRUPT, f"{manifest}: unreadable, {error}")]
    if stored.key.model != wanted.model:
        return None
    rejections = _differences(stored, wanted)
    if not rejections and not _is_intact(stored):
        rejections.append(
            EngineRejectedError(
                Rejection.CORRUPT, f"{stored.path}: is missing or damaged, its hash is wrong"
            )
        )
    return stored, rejections


def _differences(stored: StoredEngine, wanted: EngineKey) -> list[EngineRejectedError]:
    """Every way in which an engine's key is not what is wanted, the weightiest first."""
    kinds = {
        "graph": (Rejection.CHANGED_GRAPH, "is for another graph or weights, {0:.12}, not {1:.12}"),
        "flavour": (Rejection.OTHER_FLAVOUR, "is built with {0}, not {1}"),
        "version": (Rejection.OTHER_VERSION, "is built with version {0}, but {1} is installed"),
        "compute_capability": (Rejection.FOREIGN_GPU, "is for compute capability {0}, this is {1}"),
        "precision": (Rejection.OTHER_PRECISION, "computes in {0}, not {1}"),
    }  # fmt: skip
    found = []
    for field, (reason, text) in kinds.items():
        have, want = getattr(stored.key, field), getattr(wanted, field)
        if have != want:
            found.append(EngineRejectedError(reason, f"{stored.path}: {text.format(have, want)}"))
    for profile in wanted.profiles:
        if not any(other.covers(profile) for other in stored.key.profiles):
            known = ", ".join(map(str, stored.key.profiles))
            found.append(
                EngineRejectedError(
                    Rejection.MISSING_PROFILE,
                    f"{stored.path}: has no profile for {profile}, only for {known}",
                )
            )
    return found


def read_manifest(path: Path) -> StoredEngine:
    """Read the manifest of an engine; raises ValueError, KeyError, TypeError or OSError."""
    data = json.loads(path.read_bytes())
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']!r} is not {FORMAT}, the one known here")
    profiles = tuple(spec_from_dict(Profile, profile) for profile in data["key"]["profiles"])
    key = spec_from_dict(EngineKey, {**data["key"], "profiles": profiles})
    return StoredEngine(path.with_suffix(".engine"), key, data["sha256"], _parity(data["parity"]))


def _parity(data: dict[str, Any] | None) -> Parity | None:
    return spec_from_dict(Parity, {**data, "sizes": tuple(data["sizes"])}) if data else None


def _is_intact(stored: StoredEngine) -> bool:
    try:
        return file_hash(stored.path) == stored.sha256
    except OSError:
        return False


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that it is seen whole or not at all, also by other processes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
