"""TensorRT and TensorRT-RTX: one Python API in two modules, taken as a parameter by our code."""

from __future__ import annotations

import importlib
import logging
from typing import Any

FLAVOURS = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}
"""Module -> the extra that installs it."""

log = logging.getLogger(__name__)


def load_tensorrt(flavour: str) -> Any:
    """Import ``tensorrt`` or ``tensorrt_rtx``; raises ImportError naming the extra."""
    if flavour not in FLAVOURS:
        raise ValueError(f"{flavour!r} is no TensorRT; choose from {', '.join(FLAVOURS)}")
    try:
        return importlib.import_module(flavour)
    except ImportError as error:
        raise ImportError(
            f"this needs {flavour}: pip install 'hdsynth[{FLAVOURS[flavour]}]' ({error})"
        ) from error


def tensorrt_logger(trt: Any) -> Any:
    """A logger for TensorRT's objects that writes to this module's log; it must outlive them."""
    levels = {
        trt.ILogger.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.ERROR: logging.ERROR,
        trt.ILogger.WARNING: logging.WARNING,
        # What TensorRT calls information is of interest to its developers alone.
        trt.ILogger.INFO: logging.DEBUG,
    }

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in levels:  # verbose messages come by the million
                log.log(levels[severity], "%s: %s", trt.__name__, message)

    return Logger()
