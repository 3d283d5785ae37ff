"""Engines that run a bundle's generator; one file per backend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast, get_args

from model.bundle import Bundle, BundleError, Precision
from model.engine_key import EngineRejectedError, Profile
from service.backends.base import Engine, EngineInput

__all__ = ["BACKENDS", "Engine", "EngineInput", "load_engine"]

log = logging.getLogger(__name__)


def load_engine(
    bundle: Bundle, backend: str = "auto", threads: int = 0, profiles: Sequence[Profile] = ()
) -> Engine:
    """Load ``bundle`` on a backend of ``BACKENDS``; ``threads`` 0 = one per processor core.

    ``openvino``, ``onnx`` and ``onnx-cuda`` take a precision, as in ``openvino:int8``; without one
    processors compute in float32 and GPUs in float16. ``auto`` takes the fastest that works and
    was verified, and logs why. ``profiles`` are sizes and batches that engines which are built for
    some must have. Raises BundleError when the bundle has no engine for the backend,
    ValueError for an unknown one and ImportError naming the extra.
    """
    if backend == "auto":
        return _load_fastest(bundle, threads, profiles)
    name, _, option = backend.partition(":")
    if name == "fake":  # for tests and load tests: named by who knows it
        from service.backends.fake_engine import FakeEngine

        return FakeEngine(backend)
    if name in _BUILT:
        return _tensorrt(bundle, name, profiles)
    if name not in _LOADERS:
        raise ValueError(f"backend {backend!r} is unknown; choose from {', '.join(BACKENDS)}")
    return _LOADERS[name](bundle, threads, option)


def runs_on_processor(backend: str) -> bool:
    """Whether a backend keeps this machine's processor busy instead of a GPU."""
    name = backend.partition(":")[0]
    return name in {"onnx", "openvino", "fake"} or not Path("/dev/nvidiactl").exists()


def _load_fastest(bundle: Bundle, threads: int, profiles: Sequence[Profile]) -> Engine:
    """Load the first candidate that can be loaded; raises BundleError with all obstacles."""
    from service.backends.choice import candidates, obstacle

    passed_over: list[str] = []
    for candidate in candidates():
        reason = obstacle(candidate, bundle)
        if reason is None:
            try:
                engine = load_engine(bundle, candidate.name, threads, profiles)
            except (ImportError, RuntimeError, EngineRejectedError) as error:
                reason = str(error)
            else:
                parity = candidate.parity(bundle)
                log.info(
                    "backend %s: the fastest that works here and was verified against torch (mean "
                    "difference %.2f grey levels, 99.9th percentile %g); passed over: %s",
                    candidate.name, parity.mean, parity.percentile_99_9,
                    "; ".join(passed_over) or "none",
                )  # fmt: skip
                return engine
        passed_over.append(f"{candidate.name} ({reason})")
    raise BundleError(
        f"{bundle.folder}: no engine of this bundle works here: {'; '.join(passed_over)}. Add one "
        f"with 'hdsynth export {bundle.folder}', or use the backend torch"
    )


# Each backend imports its runtime when it is chosen, so that serving needs no torch.


def _onnx(bundle: Bundle, threads: int, option: str) -> Engine:
    from service.backends.onnx_engine import OnnxEngine

    return OnnxEngine(bundle, threads, _precision(option, "float32"))


def _onnx_cuda(bundle: Bundle, threads: int, option: str) -> Engine:
    from service.backends.onnx_engine import OnnxEngine

    return OnnxEngine(bundle, threads, _precision(option, "float16"), "CUDA")


def _onnx_frozen(bundle: Bundle, threads: int, _option: str) -> Engine:
    from service.backends.frozen_onnx_engine import FrozenOnnxEngine

    return FrozenOnnxEngine(bundle, threads)


def _openvino(bundle: Bundle, threads: int, option: str) -> Engine:
    from service.backends.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(bundle, threads, _precision(option, "float32"))


def _tensorrt(bundle: Bundle, flavour: str, profiles: Sequence[Profile]) -> Engine:
    from service.backends.tensorrt_engine import TensorRTEngine

    return TensorRTEngine(bundle, flavour, profiles=profiles)


def _torch(bundle: Bundle, threads: int, _option: str) -> Engine:
    from service.backends.torch_engine import TorchEngine

    return TorchEngine(bundle, threads)


def _torch_compiled(bundle: Bundle, threads: int, _option: str) -> Engine:
    from service.backends.torch_compiled import CompiledTorchEngine

    return CompiledTorchEngine(bundle, threads)


_LOADERS: dict[str, Callable[[Bundle, int, str], Engine]] = {
    "openvino": _openvino,
    "onnx": _onnx,
    "onnx-cuda": _onnx_cuda,
    "onnx-frozen": _onnx_frozen,
    "torch": _torch,
    "torch-compiled": _torch_compiled,
}
_BUILT = ("tensorrt", "tensorrt_rtx")
BACKENDS = ("auto", *_LOADERS, *_BUILT)


def _precision(option: str, usual: Precision) -> Precision:
    known = get_args(Precision)
    if option and option not in known:
        raise ValueError(f"precision {option!r} is unknown; choose from {', '.join(known)}")
    return cast("Precision", option or usual)
