"""Which backends can run a bundle here, and why the others cannot."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from model.bundle import Bundle, BundleError, Parity, Precision


@dataclass(frozen=True)
class Candidate:
    """One way to run a bundle, named as ``load_engine`` takes it."""

    name: str
    """Such as ``openvino:int8``."""
    parity: Callable[[Bundle], Parity]
    """How far it is from torch. Raises what keeps it from running."""


class UnusableError(RuntimeError):
    """A candidate cannot run here, or nobody knows whether it computes rightly."""


def candidates() -> tuple[Candidate, ...]:
    """Return what ``auto`` chooses from, the fastest first, as measured.

    torch is not among them: it is what the others are compared with. Neither is compiled torch,
    whose first run of every size takes minutes.
    """
    return (
        Candidate("tensorrt", lambda bundle: _tensorrt(bundle, "tensorrt")),
        Candidate("tensorrt_rtx", lambda bundle: _tensorrt(bundle, "tensorrt_rtx")),
        Candidate("onnx-cuda:float16", _onnx_cuda),
        Candidate("openvino:int8", lambda bundle: _processor(bundle, "openvino", "int8")),
        Candidate("onnx:int8", lambda bundle: _processor(bundle, "onnx", "int8")),
        # For trunks of 128 to 512 channels by a fourth; for wider ones they are about equal.
        Candidate("onnx:float32", lambda bundle: _processor(bundle, "onnx", "float32")),
        Candidate("openvino:float32", lambda bundle: _processor(bundle, "openvino", "float32")),
    )


def obstacle(candidate: Candidate, bundle: Bundle) -> str | None:
    """Say what keeps a candidate from running ``bundle`` here; None = nothing known."""
    try:
        candidate.parity(bundle)
    except (UnusableError, BundleError, ImportError, RuntimeError, ValueError) as error:
        return str(error)
    return None


def runnable(bundle: Bundle) -> list[str]:
    """Return the names of the candidates that can run ``bundle`` here, fastest first."""
    return [candidate.name for candidate in candidates() if obstacle(candidate, bundle) is None]


def _processor(bundle: Bundle, backend: str, precision: Precision) -> Parity:
    package = {"onnx": "onnxruntime"}.get(backend, backend)
    if importlib.util.find_spec(package) is None:
        raise UnusableError(f"{package} is not installed")
    if precision == "int8" and not has_integer_instructions():
        raise UnusableError("this processor has no 8-bit dot products")
    return _recorded(bundle, backend, precision)


def _onnx_cuda(bundle: Bundle) -> Parity:
    if not Path("/dev/nvidiactl").exists():
        raise UnusableError("no NVIDIA GPU")
    return _recorded(bundle, "onnx", "float16")


def _tensorrt(bundle: Bundle, flavour: str) -> Parity:
    if not Path("/dev/nvidiactl").exists():
        raise UnusableError("no NVIDIA GPU")
    from model.engine_files import default_cache, find
    from model.engine_key import engine_key
    from model.gpu import compute_capability
    from model.tensorrt_module import load_tensorrt

    version = load_tensorrt(flavour).__version__
    key = engine_key(bundle, flavour, version, compute_capability(), ())
    parity = find(default_cache(), key).parity
    if parity is None:
        raise UnusableError("its engine was never compared with torch")
    return parity


def _recorded(bundle: Bundle, backend: str, precision: Precision) -> Parity:
    try:
        return bundle.engine(backend, precision).parity
    except BundleError as error:
        raise UnusableError("not in the bundle") from error


@cache
def has_integer_instructions() -> bool:
    """Whether the processor multiplies and adds bytes in one step (VNNI, or ARM's dot product).

    Without it integers are hardly faster than floats, and some runtimes let sums overflow.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return not {"avx512_vnni", "avx_vnni", "asimddp"}.isdisjoint(text.split())
