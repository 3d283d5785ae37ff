"""The bundle: a folder that describes one model completely.

    bundle.json             this schema
    generator.safetensors   weights; so is encoder.safetensors where the model has styles
    generator.onnx          graph whose weights lie in generator.safetensors
    MODEL_CARD.md           data, licence, budget, scores, limits

Every file is listed with its size and SHA-256, which loading verifies. Nothing is unpickled.
This module is free of torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.classes import Classes
from model.spec import EncoderSpec, GeneratorSpec, InputSpec, spec_from_dict

FORMAT = 1
DESCRIPTION = "bundle.json"
GENERATOR_WEIGHTS = "generator.safetensors"
ENCODER_WEIGHTS = "encoder.safetensors"
MODEL_CARD = "MODEL_CARD.md"


class BundleError(ValueError):
    """A folder is not a bundle that can be used; the message names the file and the reason."""


@dataclass(frozen=True)
class Parity:
    """How far an engine's pixels are from torch in float32, in grey levels 0..255."""

    maximum: float
    mean: float
    percentile_99_9: float
    within_one: float
    """Share of the channel values that differ by at most one grey level."""
    scenes: int
    """Number of scenes compared."""
    sizes: tuple[str, ...]
    """Their sizes, WIDTHxHEIGHT."""


@dataclass(frozen=True)
class EngineFile:
    """A graph in the bundle that a backend can run."""

    file: str
    backend: str
    """Which engine runs it: ``onnx``."""
    precision: str
    opset: int
    parity: Parity


@dataclass(frozen=True)
class Bundle:
    """One model: what it takes, its weights and styles, and the engines made from it."""

    name: str
    input: InputSpec
    generator: GeneratorSpec
    classes: Classes
    encoder: EncoderSpec | None = None
    ignore_labels: tuple[int, ...] = ()
    """Label values that mean "no class"."""
    trained_size: tuple[int, int] | None = None
    """Width and height of the training crops in pixels."""
    styles: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    """Class id -> (K, C) cluster centres."""
    scene_styles: NDArray[np.float32] | None = None
    """(P, classes, C) mean codes of P typical photographs; None = styles are drawn one by one."""
    engines: tuple[EngineFile, ...] = ()
    folder: Path | None = None
    """Where the bundle lies; None before it is written."""
    version: str = ""
    """First 12 hex digits of the SHA-256 of bundle.json, which covers every file's hash."""

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together."""
        if self.input.channels != self.generator.input_channels:
            raise BundleError(
                f"the input has {self.input.channels} channels, but the generator takes "
                f"{self.generator.input_channels}"
            )
        if self.input.label_count and self.input.label_count != len(self.classes):
            raise BundleError(
                f"{self.input.label_count} labels, but {len(self.classes)} class names"
            )
        for label, centres in self.styles.items():
            if centres.ndim != 2 or centres.shape[1] != self.input.style_channels:
                raise BundleError(f"styles of class {label} have shape {centres.shape}")
        if self.scene_styles is not None:
            wanted = (len(self.scene_styles), len(self.classes), self.input.style_channels)
            if self.scene_styles.shape != wanted:
                raise BundleError(f"scene_styles have shape {self.scene_styles.shape}")

    def path(self, file: str) -> Path:
        """Path of one of the bundle's files."""
        if self.folder is None:
            raise BundleError(f"bundle {self.name!r} has not been written yet")
        return self.folder / file

    def engine(self, backend: str) -> EngineFile:
        """Return the graph for ``backend``; raises BundleError when there is none."""
        for engine in self.engines:
            if engine.backend == backend:
                return engine
        raise BundleError(
            f"{self.folder}: no {backend} engine in this bundle; add it with "
            f"'hdsynth export {self.folder}'"
        )


def load_bundle(folder: str | Path) -> Bundle:
    """Read and verify a bundle; raises BundleError naming the file and the reason."""
    folder = Path(folder)
    try:
        text = (folder / DESCRIPTION).read_bytes()
    except OSError as error:
        raise BundleError(f"{folder}: no bundle here ({DESCRIPTION} cannot be read)") from error
    try:
        data = json.loads(text)
        if data.get("format") != FORMAT:
            raise BundleError(f"format {data.get('format')!r} is not {FORMAT}, the one known here")
        bundle = _from_json(data)
        _verify(folder, data["files"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise BundleError(f"{folder / DESCRIPTION}: {reason}") from error
    for engine in bundle.engines:
        if engine.file not in data["files"]:
            raise BundleError(f"{folder / DESCRIPTION}: engine {engine.file!r} is not among files")
    version = hashlib.sha256(text).hexdigest()[:12]
    return dataclasses.replace(bundle, folder=folder, version=version)


def describe(bundle: Bundle, folder: str | Path) -> Bundle:
    """Write ``bundle.json`` for the files that lie in ``folder`` and return the loaded bundle.

    Every file in the folder is listed with its hash. The description is replaced in one step.
    """
    folder = Path(folder)
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": file_hash(path)}
        for path in sorted(folder.iterdir())
        if path.name != DESCRIPTION and not path.name.startswith(".")
    }
    temporary = folder / f".{DESCRIPTION}"
    temporary.write_text(json.dumps(_to_json(bundle, files), indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / DESCRIPTION)
    return load_bundle(folder)


def replace_card(bundle: Bundle, text: str) -> Bundle:
    """Give a loaded bundle another model card; returns the bundle under its new version."""
    bundle.path(MODEL_CARD).write_text(text, encoding="utf-8")
    return describe(bundle, bundle.path(MODEL_CARD).parent)


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_json(bundle: Bundle, files: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": bundle.name,
        "input": dataclasses.asdict(bundle.input),
        "generator": dataclasses.asdict(bundle.generator),
        "encoder": dataclasses.asdict(bundle.encoder) if bundle.encoder else None,
        "classes": {"names": bundle.classes.names, "palette": bundle.classes.palette},
        "ignore_labels": bundle.ignore_labels,
        "size": {
            "multiple": bundle.generator.size_multiple,
            "minimum": bundle.generator.minimum_side,
            "trained": bundle.trained_size,
        },
        "styles": {str(k): _rounded(v) for k, v in sorted(bundle.styles.items())},
        "scene_styles": None if bundle.scene_styles is None else _rounded(bundle.scene_styles),
        "engines": [dataclasses.asdict(engine) for engine in bundle.engines],
        "files": files,
    }


def _rounded(codes: NDArray[np.float32]) -> Any:
    """Nested lists of codes with the six digits that float32 holds."""
    return np.round(codes.astype(np.float64), 6).tolist()


def _from_json(data: dict[str, Any]) -> Bundle:
    known = set(_to_json_keys())
    unknown = sorted(set(data) - known)
    if unknown:
        raise BundleError(f"unknown entry {unknown[0]!r}")
    classes, size = data["classes"], data["size"]
    bundle = Bundle(
        name=data["name"],
        input=spec_from_dict(InputSpec, data["input"]),
        generator=spec_from_dict(GeneratorSpec, data["generator"]),
        encoder=spec_from_dict(EncoderSpec, data["encoder"]) if data["encoder"] else None,
        classes=Classes(tuple(classes["names"]), tuple(map(tuple, classes["palette"]))),
        ignore_labels=tuple(data["ignore_labels"]),
        trained_size=tuple(size["trained"]) if size["trained"] else None,
        styles={int(k): np.asarray(v, np.float32) for k, v in data["styles"].items()},
        scene_styles=(
            None if data["scene_styles"] is None else np.asarray(data["scene_styles"], np.float32)
        ),
        engines=tuple(_engine(entry) for entry in data["engines"]),
    )
    rules = (bundle.generator.size_multiple, bundle.generator.minimum_side)
    if rules != (size["multiple"], size["minimum"]):
        raise BundleError(f"size rules {size} do not belong to this generator ({rules})")
    return bundle


def _to_json_keys() -> tuple[str, ...]:
    return (
        "format", "name", "input", "generator", "encoder", "classes", "ignore_labels", "size",
        "styles", "scene_styles", "engines", "files",
    )  # fmt: skip


def _engine(entry: dict[str, Any]) -> EngineFile:
    parity = spec_from_dict(Parity, {**entry["parity"], "sizes": tuple(entry["parity"]["sizes"])})
    return spec_from_dict(EngineFile, {**entry, "parity": parity})


def _verify(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    for name, entry in files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise BundleError(f"file {name!r} is missing")
        if path.stat().st_size != entry["bytes"] or file_hash(path) != entry["sha256"]:
            raise BundleError(f"file {name!r} is damaged: its content does not match its hash")
