"""Build TensorRT engines from a bundle's half-precision ONNX graph.

Strongly typed: the types are those of the graph, so precision is decided once, when the graph
is exported and compared with torch. One optimisation profile per picture size and range of
batches keeps every shape but the batch fixed, for which TensorRT finds the fastest kernels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.build_progress import build_progress
from model.bundle import Bundle
from model.engine_files import StoredEngine, find, store, write_atomically
from model.engine_key import EngineRejectedError, Profile, engine_key
from model.gpu import NoGpuError, compute_capability
from model.tensorrt_module import load_tensorrt, tensorrt_logger

log = logging.getLogger(__name__)

STYLE_ROWS = (1, 256, 65536)
"""Least, usual and most objects of a scene with a style code of their own."""


class EngineBuildError(RuntimeError):
    """TensorRT could not parse a graph or build an engine from it."""


def ensure_engine(
    bundle: Bundle,
    profiles: Sequence[Profile],
    *,
    flavour: str,
    cache: Path,
    capability: str | None = None,
    rebuild: bool = False,
) -> StoredEngine:
    """Return the engine for ``profiles`` from the cache, built if none there can be used.

    ``capability`` is the GPU architecture to build for (None = this machine's GPU). Raises
    BundleError without a half-precision graph, EngineBuildError, NoGpuError, ImportError, and
    ValueError for an architecture that cannot be built for.
    """
    trt = load_tensorrt(flavour)
    graph = bundle.engine("onnx", "float16")
    key = engine_key(bundle, flavour, trt.__version__, capability or compute_capability(), profiles)
    if not rebuild:
        try:
            return find(cache, key)
        except EngineRejectedError as error:
            log.info("building: %s", error.reason)
    timing = cache / f"timing-{trt.__version__}-sm{key.compute_capability}.cache"
    built = build_engine(
        trt,
        bundle.path(graph.file),
        profiles,
        key.compute_capability,
        timing_cache=timing,
    )
    return store(cache, key, built)


def build_engine(
    trt: Any,
    graph: Path,
    profiles: Sequence[Profile],
    capability: str,
    *,
    timing_cache: Path | None = None,
) -> memoryview:
    """Build an engine with the module ``trt`` from an ONNX file; returns it serialised.

    Raises EngineBuildError naming the node and operator that TensorRT refuses, or TensorRT's
    own last message; ValueError when this TensorRT cannot build for ``capability``.
    """
    logger = tensorrt_logger(trt)
    builder = trt.Builder(logger)
    network = _parse(trt, builder, logger, graph)
    config = builder.create_builder_config()
    _set_target(trt, config, capability)
    # Memory that the runtime allocates by itself would break the capture of CUDA graphs.
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    for profile in profiles:
        _add_profile(builder, config, network, profile)
    timings = _attach_timing_cache(trt, config, timing_cache)
    progress = build_progress(trt, f"{graph.name} for {capability}")
    config.progress_monitor = progress
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        if progress.cancelled:
            raise KeyboardInterrupt
        raise EngineBuildError(
            f"{graph}: {trt.__name__} {trt.__version__} built no engine; its log says why"
        )
    if timings is not None and timing_cache is not None:
        timing_cache.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(timing_cache, memoryview(timings.serialize()))
    return memoryview(engine)


def _parse(trt: Any, builder: Any, logger: Any, graph: Path) -> Any:
    """Read an ONNX file, whose weights may lie in a file beside it, into a new network."""
    # Since TensorRT 11 networks are always strongly typed and the flag is on its way out.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        errors = [_describe(parser.get_error(i)) for i in range(parser.num_errors)]
        raise EngineBuildError(
            f"{graph}: {trt.__name__} {trt.__version__} cannot read it: {'; '.join(errors)}"
        )
    return network


def _describe(error: Any) -> str:
    where = f"node {error.node_name()!r} ({error.node_operator()})" if error.node_operator() else ""
    return f"{where} {error.desc()}".strip()


def _set_target(trt: Any, config: Any, capability: str) -> None:
    """Build for a GPU architecture: any for TensorRT-RTX, this machine's for TensorRT."""
    if not hasattr(trt, "ComputeCapability"):
        _require_this_gpu(trt, capability)
        return
    known = {
        f"{name[2:-1]}.{name[-1]}": value
        for name, value in trt.ComputeCapability.__members__.items()
        if name.startswith("SM")
    }
    if capability not in known:
        raise ValueError(
            f"{trt.__name__} {trt.__version__} cannot build for compute capability {capability}; "
            f"it can for {', '.join(sorted(known, key=float))}"
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(known[capability], 0)


def _require_this_gpu(trt: Any, capability: str) -> None:
    try:
        here = compute_capability()
    except NoGpuError as error:
        raise NoGpuError(
            error.code, f"{trt.__name__} builds only on the GPU that it builds for: {error}"
        ) from error
    if here != capability:
        raise ValueError(
            f"{trt.__name__} builds only for this machine's GPU, of compute capability {here}, "
            f"not for {capability}; use --tensorrt-rtx, or build on a machine of that kind"
        )


def _add_profile(builder: Any, config: Any, network: Any, profile: Profile) -> None:
    shapes = builder.create_optimization_profile()
    batches = (profile.smallest_batch, profile.batch, profile.batch)
    for tensor in map(network.get_input, range(network.num_inputs)):
        trailing = tuple(tensor.shape)[3:]
        if tensor.name == "style_table":
            channels = tensor.shape[2]
            limits = [(n, rows, channels) for n, rows in zip(batches, STYLE_ROWS, strict=True)]
        else:
            limits = [(n, profile.height, profile.width, *trailing) for n in batches]
        shapes.set_shape(tensor.name, *limits)
    config.add_optimization_profile(shapes)


def _attach_timing_cache(trt: Any, config: Any, path: Path | None) -> Any:
    """Let the builder reuse measurements of earlier builds; None = there is nothing to keep.

    TensorRT-RTX chooses kernels without measuring them.
    """
    if path is None or trt.__name__ == "tensorrt_rtx":
        return None
    kept = path.read_bytes() if path.is_file() else b""
    # TensorRT returns nothing for content that it does not understand.
    timings = config.create_timing_cache(kept) or config.create_timing_cache(b"")
    config.set_timing_cache(timings, ignore_mismatch=False)
    return timings
