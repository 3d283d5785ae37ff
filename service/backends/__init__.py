"""Engines that run a bundle's generator; one file per backend."""

from __future__ import annotations

from model.bundle import Bundle
from service.backends.base import Engine, EngineInput

BACKENDS = ("onnx", "torch")

__all__ = ["BACKENDS", "Engine", "EngineInput", "load_engine"]


def load_engine(bundle: Bundle, backend: str = "onnx", threads: int = 0) -> Engine:
    """Load ``bundle`` on a backend of ``BACKENDS``; ``threads`` 0 = one per processor core.

    Raises BundleError when the bundle has no graph for the backend, ValueError for an unknown
    backend and ImportError naming the extra to install.
    """
    # Each backend imports its runtime when it is chosen, so that serving needs no torch.
    if backend == "onnx":
        from service.backends.onnx_engine import OnnxEngine

        return OnnxEngine(bundle, threads)
    if backend == "torch":
        from service.backends.torch_engine import TorchEngine

        return TorchEngine(bundle, threads)
    raise ValueError(f"backend {backend!r} is unknown; choose from {', '.join(BACKENDS)}")
