"""Add verified engines to a bundle.

Every graph is written under a hidden name, run on every runtime that is installed, and compared
with torch. Only when all is well do the files take their places and the bundle's description
names them, so that a failed export leaves the bundle as it was.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.frozen_statistics import FROZEN, GIVEN, write_frozen_graph
from export.parity import (
    Feeds,
    ParityError,
    RunEngine,
    Sample,
    check_parity,
    compare,
    encoder_samples,
    generator_samples,
    random_batches,
    random_photos,
)
from export.quantize import quantize
from export.real_scenes import can_draw, real_scenes
from export.to_onnx import OPSET, export_encoder, export_generator
from model.bundle import Bundle, EngineFile, Precision, describe, load_bundle
from model.onnx_graph import OnnxGraph
from model.openvino_graph import OpenVinoGraph

GRAPHS: dict[Precision, str] = {
    "float32": "generator.onnx",
    "float16": "generator.fp16.onnx",
    "int8": "generator.int8.onnx",
}
OPENVINO_GRAPH = "generator.openvino.onnx"
FROZEN_GRAPH = "generator.frozen.onnx"
ENCODER_GRAPH = "encoder.onnx"
PARITY_SIZES = ((256, 256), (384, 200), (333, 217), (512, 512))
"""Widths and heights, legal for the bundled model and not."""
Tell = Callable[[str], None]


def add_engines(
    folder: Path,
    precisions: Sequence[Precision] | None = None,
    sizes: Sequence[tuple[int, int]] = PARITY_SIZES,
    calibration: Path | None = None,
    tell: Tell = lambda _: None,
    *,
    frozen: bool = False,
) -> Bundle:
    """Export the networks of the bundle in ``folder`` to ONNX, verify them, and record them.

    float32 is always made. ``precisions`` None makes float16 and, where there are real maps, int8
    as well, and leaves out what is not good enough. ``calibration`` is a folder of maps, ``tell``
    is told what happens, ``frozen`` adds the graph of ``export.frozen_statistics``. Raises
    BundleError, NoScenesError, MapError, and ParityError when the pixels differ; the bundle then
    is as it was.
    """
    bundle = load_bundle(folder)
    with _staging(folder) as staging:
        export = _Export(bundle, staging, tell)
        wanted = precisions or (
            ("float16", "int8") if calibration or can_draw(bundle) else ("float16",)
        )
        # Before anything that takes long: there may be no maps.
        scenes = real_scenes(bundle, calibration) if "int8" in wanted else None
        random = generator_samples(bundle, random_batches(bundle, sizes, 2))
        export.float32(random)
        if frozen:
            export.frozen(random)
        if "float16" in wanted:
            export.float16(random, required=precisions is not None)
        if scenes is not None:
            export.int8(*scenes, required=precisions is not None)
        if bundle.encoder:
            export.encoder(sizes)
        files = {engine.file for engine in export.engines}
        staging.keep(files | ({ENCODER_GRAPH} if bundle.encoder else set()))
    others = tuple(e for e in bundle.engines if e.file not in files)
    changed = dataclasses.replace(
        bundle, engines=(*export.engines, *others), encoder_engine=export.encoder_engine
    )
    return describe(changed, folder)


@dataclass
class _Export:
    """One export: what was made and verified so far."""

    bundle: Bundle
    staging: _Staging
    tell: Tell
    engines: list[EngineFile] = field(default_factory=list)
    encoder_engine: EngineFile | None = None

    def float32(self, samples: Sequence[Sample]) -> None:
        """Export the generator's graph, arranged for either runtime."""
        graph = GRAPHS["float32"]
        self.tell(f"{graph}: tracing the generator")
        export_generator(
            self.bundle, self._path(graph), "float32", openvino=self._path(OPENVINO_GRAPH)
        )
        self._verify(graph, "onnx", "float32", samples, required=True)
        if _has_openvino():
            self._verify(OPENVINO_GRAPH, "openvino", "float32", samples)
            self._verify(OPENVINO_GRAPH, "openvino", "bfloat16", samples)

    def frozen(self, samples: Sequence[Sample]) -> None:
        """Rewrite ONNX Runtime's float32 graph so that it can keep statistics."""
        self.tell(f"{FROZEN_GRAPH}: taking out the instance norms")
        write_frozen_graph(self._path(GRAPHS["float32"]), self._path(FROZEN_GRAPH))
        self._verify(FROZEN_GRAPH, "onnx-frozen", "float32", samples, required=True)

    def float16(self, samples: Sequence[Sample], *, required: bool) -> None:
        """Export the graph for GPUs. Here ONNX Runtime shows that it is right."""
        graph = GRAPHS["float16"]
        self.tell(f"{graph}: tracing the generator in half precision")
        export_generator(self.bundle, self._path(graph), "float16")
        self._verify(graph, "onnx", "float16", samples, required=required)

    def int8(
        self, calibrating: Sequence[Feeds], held_out: Sequence[Feeds], *, required: bool
    ) -> None:
        """Quantise the generator's float32 graph on some scenes, and judge it by others."""
        graph = GRAPHS["int8"]
        self.tell(f"{graph}: calibrating on {len(calibrating)} scenes")
        # OpenVINO gains most, so it is its form that is quantised.
        quantize(self._path(OPENVINO_GRAPH), calibrating, self._path(graph))
        samples = generator_samples(self.bundle, held_out)
        self._verify(graph, "onnx", "int8", samples, required=required)
        if _has_openvino():
            self._verify(graph, "openvino", "int8", samples)

    def encoder(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Export the style encoder."""
        self.tell(f"{ENCODER_GRAPH}: tracing the style encoder")
        path = self._path(ENCODER_GRAPH)
        export_encoder(self.bundle, path)
        samples = encoder_samples(self.bundle, random_photos(sizes, 2))
        parity = compare(samples, OnnxGraph(path).run)
        check_parity(parity, ENCODER_GRAPH)
        self.encoder_engine = EngineFile(ENCODER_GRAPH, "onnx", "float32", OPSET, parity)

    def _verify(
        self,
        file: str,
        backend: str,
        precision: Precision,
        samples: Sequence[Sample],
        *,
        required: bool = False,
    ) -> None:
        """Compare a graph with torch on a runtime, and record it if it is good enough."""
        what = f"{file} on {backend}"
        parity = compare(samples, self._open(backend, file, precision))
        try:
            check_parity(parity, what, precision)
        except ParityError as error:
            if required:
                raise ParityError(f"{error}; nothing was written") from error
            self.tell(f"left out: {error}")
            return
        self.tell(
            f"{what} in {precision}: {100 * parity.within_one:.3f} % within 1 grey level of torch, "
            f"mean {parity.mean:.3f}, 99.9th percentile {parity.percentile_99_9:g}, worst "
            f"{parity.maximum:g}"
        )
        self.engines.append(EngineFile(file, backend, precision, OPSET, parity))

    def _open(self, backend: str, file: str, precision: Precision) -> RunEngine:
        if backend == "onnx":
            return OnnxGraph(self._path(file)).run
        if backend == "onnx-frozen":
            return partial(_run_unfrozen, OnnxGraph(self._path(file)))
        rule = self.bundle.generator
        return OpenVinoGraph(
            self._path(file), precision, (rule.size_multiple, rule.minimum_side)
        ).run

    def _path(self, file: str) -> Path:
        return self.staging.path(file)


def _run_unfrozen(graph: OnnxGraph, feeds: Feeds) -> NDArray[Any]:
    """Run scenes with their own statistics, which is what torch does."""
    count = len(feeds["label"])
    given = np.zeros((count, *graph.shapes[GIVEN][1:]), np.float32)
    return graph.run({**feeds, GIVEN: given, FROZEN: np.zeros(count, np.bool_)})


def _has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None


class _Staging:
    """Files under hidden names beside those that they will replace.

    Graphs name their weights by file, so they can be run only in the bundle's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: set[str] = set()

    def path(self, file: str) -> Path:
        """Where a file is written to for now."""
        self._files.add(file)
        return self._folder / f".{file}"

    def keep(self, files: Iterable[str]) -> None:
        """Put files into their places."""
        for file in files:
            self.path(file).replace(self._folder / file)

    def clear(self) -> None:
        """Remove what has not been kept."""
        for file in self._files:
            self.path(file).unlink(missing_ok=True)


@contextmanager
def _staging(folder: Path) -> Iterator[_Staging]:
    staging = _Staging(folder)
    try:
        yield staging
    finally:
        staging.clear()
