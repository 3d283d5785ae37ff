"""Ask CUDA about this machine's GPU, through cuda-python and without torch."""

from __future__ import annotations

from types import ModuleType
from typing import Any


class CudaError(RuntimeError):
    """A CUDA call failed; ``code`` is CUDA's own name for it, such as cudaErrorMemoryAllocation."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NoGpuError(CudaError):
    """There is no GPU that CUDA can use on this machine."""


def cuda_runtime() -> ModuleType:
    """cuda-python's module of the CUDA runtime; raises ImportError naming the extra."""
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise ImportError(
            "this needs cuda-python: pip install 'hdsynth[tensorrt]' or 'hdsynth[tensorrt-rtx]'"
        ) from error
    module: ModuleType = runtime
    return module


def checked(result: tuple[Any, ...]) -> Any:
    """Value of a CUDA call, which returns (error, *values); raises CudaError."""
    error, *values = result
    runtime = cuda_runtime()
    if error != runtime.cudaError_t.cudaSuccess:
        code = getattr(error, "name", str(error))
        _, text = runtime.cudaGetErrorString(error)
        raise CudaError(code, f"{code}: {text.decode() if isinstance(text, bytes) else text}")
    return values[0] if len(values) == 1 else tuple(values)


def select_gpu(device: int = 0) -> None:
    """Use a GPU from the calling thread; raises NoGpuError where there is none."""
    runtime = cuda_runtime()
    try:
        count = checked(runtime.cudaGetDeviceCount())
    except CudaError as error:
        raise NoGpuError(
            error.code, f"no CUDA device: {error} (is an NVIDIA driver installed?)"
        ) from error
    if device >= count:
        raise NoGpuError("cudaErrorInvalidDevice", f"no CUDA device {device}: there are {count}")
    checked(runtime.cudaSetDevice(device))


def compute_capability(device: int = 0) -> str:
    """Architecture of a GPU, such as ``8.9``; raises NoGpuError, ImportError."""
    select_gpu(device)
    runtime = cuda_runtime()
    names = runtime.cudaDeviceAttr
    major, minor = (
        checked(runtime.cudaDeviceGetAttribute(name, device))
        for name in (
            names.cudaDevAttrComputeCapabilityMajor,
            names.cudaDevAttrComputeCapabilityMinor,
        )
    )
    return f"{major}.{minor}"
