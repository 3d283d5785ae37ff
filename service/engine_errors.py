"""What can go wrong in an engine, and how the words of its runtime are understood."""

from __future__ import annotations


class EngineError(RuntimeError):
    """Something is wrong with an engine; none of its callers' business."""


class EngineLoadError(EngineError):
    """An engine cannot be loaded, and never will be from the same files on the same machine."""


class EngineFaultError(EngineError):
    """The engine failed on one scene; it goes on with others."""


class EngineLostError(EngineError):
    """The engine's process ended, and the work that it had with it."""


class EngineFatalError(EngineError):
    """The device has failed in a way that outlives the engine; the server has to end."""


# Words of ONNX Runtime, OpenVINO, torch and CUDA, in lower case.
_OUT_OF_MEMORY = (
    "out of memory",
    "out_of_memory",
    "failed to allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "bad allocation",
    "cudaerrormemoryallocation",
)
_FATAL = (
    "illegal memory access",
    "illegal_address",
    "illegal address",
    "illegal instruction",
    "misaligned address",
    "device-side assert",
    "hardware stack error",
    "launch failure",
    "launch_failed",
    "uncorrectable ecc",
    "ecc_uncorrectable",
    "fallen off the bus",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch might succeed."""
    return isinstance(error, MemoryError) or _says(error, _OUT_OF_MEMORY)


def is_fatal(error: BaseException) -> bool:
    """Whether every later run in this process would fail as well."""
    return _says(error, _FATAL)


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)
