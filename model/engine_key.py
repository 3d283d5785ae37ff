"""What a compiled engine depends on: graph, TensorRT, GPU architecture, precision and shapes.

Free of torch and TensorRT.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from model.bundle import GENERATOR_WEIGHTS, Bundle, file_hash


class Rejection(StrEnum):
    """Why no engine in the cache can be used."""

    MISSING = "missing"
    CORRUPT = "corrupt"
    CHANGED_GRAPH = "changed graph"
    OTHER_FLAVOUR = "other flavour"
    OTHER_VERSION = "other version"
    FOREIGN_GPU = "foreign GPU"
    OTHER_PRECISION = "other precision"
    MISSING_PROFILE = "missing profile"


class EngineRejectedError(ValueError):
    """No compiled engine can be used; ``reason`` is for programs, the message for people."""

    def __init__(self, reason: Rejection, message: str) -> None:
        super().__init__(f"{message}; build one with 'hdsynth export BUNDLE --tensorrt'")
        self.reason = reason


@dataclass(frozen=True, order=True)
class Profile:
    """One optimisation profile: a picture size in pixels and the batches that it takes."""

    width: int
    height: int
    smallest_batch: int
    batch: int
    """Largest batch, the one that the engine is tuned for."""

    def covers(self, other: Profile) -> bool:
        """Say whether every batch of ``other`` runs in this profile."""
        return (
            (self.width, self.height) == (other.width, other.height)
            and self.smallest_batch <= other.smallest_batch
            and other.batch <= self.batch
        )

    def __str__(self) -> str:
        """As people write it: ``512x256 batch 2-4``."""
        batches = f"{self.smallest_batch}-" if self.smallest_batch != self.batch else ""
        return f"{self.width}x{self.height} batch {batches}{self.batch}"


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on. Engines with equal keys are interchangeable."""

    model: str
    """Name of the bundle."""
    graph: str
    """SHA-256 over the ONNX graph and its weights; see ``graph_hash``."""
    flavour: str
    """``tensorrt`` or ``tensorrt_rtx``: the module that built it and must run it."""
    version: str
    """Version of that module."""
    compute_capability: str
    """GPU architecture, such as ``8.9``."""
    precision: str
    profiles: tuple[Profile, ...]
    """In the engine's order; in a search, what must be covered (nothing = any engine)."""

    @property
    def stem(self) -> str:
        """File name without ending: readable, and different for different keys."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        architecture = self.compute_capability.replace(".", "")
        return f"{file_name(self.model)}-sm{architecture}-{self.flavour}-{digest}"


def batch_profiles(sizes: Iterable[tuple[int, int]], batches: Sequence[int]) -> tuple[Profile, ...]:
    """One profile per (width, height) and batch; each begins where the smaller one ends.

    Batches 1 and 4 give profiles for exactly 1 and for 2 to 4 scenes. Raises ValueError.
    """
    ends = sorted(set(batches))
    if not ends or ends[0] < 1:
        raise ValueError(f"batches {list(batches)}: give at least one, and none below 1")
    ranges = [(before + 1, end) for before, end in zip([0, *ends], ends, strict=False)]
    return tuple(
        Profile(width, height, *limits) for width, height in dict.fromkeys(sizes)
        for limits in ranges
    )  # fmt: skip


def choose_profile(profiles: Sequence[Profile], batch: int, width: int, height: int) -> int:
    """Position of the profile for a batch of one size.

    Raises EngineRejectedError (MISSING_PROFILE), which lists what there is.
    """
    wanted = Profile(width, height, batch, batch)
    for position, profile in enumerate(profiles):
        if profile.covers(wanted):
            return position
    known = ", ".join(map(str, profiles))
    raise EngineRejectedError(
        Rejection.MISSING_PROFILE, f"the engine has no profile for {wanted}, only for {known}"
    )


def engine_key(
    bundle: Bundle, flavour: str, version: str, capability: str, profiles: Sequence[Profile]
) -> EngineKey:
    """Key of the engine that TensorRT makes from the bundle's half-precision graph.

    Raises BundleError when the bundle has no such graph.
    """
    graph = bundle.engine("onnx", "float16")
    return EngineKey(
        model=bundle.name,
        graph=graph_hash(bundle.path(graph.file), bundle.path(GENERATOR_WEIGHTS)),
        flavour=flavour,
        version=version,
        compute_capability=capability,
        precision=graph.precision,
        profiles=tuple(profiles),
    )


def graph_hash(*files: Path) -> str:
    """SHA-256 over an ONNX graph and the files that hold its weights, in this order."""
    return hashlib.sha256("".join(file_hash(file) for file in files).encode()).hexdigest()


def file_name(model: str) -> str:
    """A model's name with nothing in it that a file name cannot hold."""
    return re.sub(r"[^\w.-]", "_", model)
