"""The bundle: a folder that describes one model completely.

    bundle.json             this schema
    generator.safetensors   weights; so is encoder.safetensors where the model has styles
    generator.onnx          graph whose weights lie in generator.safetensors; so do those of
                            generator.openvino.onnx, the same for another runtime, and of
                            generator.fp16.onnx; encoder.onnx points to encoder.safetensors
    generator.int8.onnx     graph with 8-bit weights of its own
    MODEL_CARD.md           data, licence, budget, scores, limits

Every file is listed with its size and SHA-256, which loading verifies. Nothing is unpickled.
This module is free of torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.classes import Classes
from model.spec import EncoderSpec, GeneratorSpec, InputSpec, spec_from_dict

Precision = Literal["float32", "float16", "bfloat16", "int8"]

FORMAT = 2
DESCRIPTION = "bundle.json"
GENERATOR_WEIGHTS = "generator.safetensors"
ENCODER_WEIGHTS = "encoder.safetensors"
MODEL_CARD = "MODEL_CARD.md"

log = logging.getLogger(__name__)


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
    """A graph in the bundle with the runtime that it was verified on.

    One file may stand in several entries: an engine is a graph on a runtime in a precision.
    """

    file: str
    backend: str
    """Which runtime runs it: ``onnx`` (ONNX Runtime) or ``openvino``."""
    precision: Precision
    """What it computes in; ``bfloat16`` is what a runtime makes of a float32 graph."""
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
    """Class id -> (K, C) cluster centres; models without labels have them under 0."""
    scene_styles: NDArray[np.float32] | None = None
    """(P, classes, C) mean codes of P typical photographs; None = styles are drawn one by one.

    One class for models without labels.
    """
    engines: tuple[EngineFile, ...] = ()
    """Verified engines of the generator."""
    encoder_engine: EngineFile | None = None
    """Verified engine of the style encoder, which gives features in [-1, 1]; its parity is in grey
    levels too, 127.5 of them to a unit."""
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
            # Without labels all instances are of one unnamed class.
            classes = max(1, len(self.classes))
            wanted = (len(self.scene_styles), classes, self.input.style_channels)
            if self.scene_styles.shape != wanted:
                raise BundleError(f"scene_styles have shape {self.scene_styles.shape}")

    def path(self, file: str) -> Path:
        """Path of one of the bundle's files."""
        if self.folder is None:
            raise BundleError(f"bundle {self.name!r} has not been written yet")
        return self.folder / file

    def engine(self, backend: str, precision: Precision | None = None) -> EngineFile:
        """Return the engine for a backend, of a precision or the first; raises BundleError."""
        for engine in self.engines:
            if engine.backend == backend and precision in {None, engine.precision}:
                return engine
        raise BundleError(
            f"{self.folder}: no {' '.join(filter(None, (precision, backend)))} engine in this "
            f"bundle; add it with 'hdsynth export {self.folder}'"
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
        _upgrade(data, folder)
        bundle = _from_json(data)
        _verify(folder, data["files"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise BundleError(f"{folder / DESCRIPTION}: {reason}") from error
    for engine in filter(None, (*bundle.engines, bundle.encoder_engine)):
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
        "encoder_engine": (
            dataclasses.asdict(bundle.encoder_engine) if bundle.encoder_engine else None
        ),
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
        encoder_engine=_engine(data["encoder_engine"]) if data["encoder_engine"] else None,
    )
    rules = (bundle.generator.size_multiple, bundle.generator.minimum_side)
    if rules != (size["multiple"], size["minimum"]):
        raise BundleError(f"size rules {size} do not belong to this generator ({rules})")
    return bundle


def _to_json_keys() -> tuple[str, ...]:
    return (
        "format", "name", "input", "generator", "encoder", "classes", "ignore_labels", "size",
        "styles", "scene_styles", "engines", "encoder_engine", "files",
    )  # fmt: skip


def _upgrade(data: dict[str, Any], folder: Path) -> None:
    """Bring the description of an older format up to date; raises BundleError for others."""
    if data.get("format") == 1:
        # Its graphs take only legal sizes, which nobody pads to outside of a graph any more.
        if data["engines"]:
            log.warning(
                "%s: the engines of this bundle are of an older format and are left out; "
                "make new ones with 'hdsynth export %s'", folder, folder,
            )  # fmt: skip
        data.update(format=FORMAT, engines=[], encoder_engine=None)
    if data.get("format") != FORMAT:
        raise BundleError(f"format {data.get('format')!r} is not {FORMAT}, the one known here")


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
