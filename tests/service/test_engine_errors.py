import pytest

from service.engine_errors import is_fatal, is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[ONNXRuntimeError] : 6 : std::bad_alloc"),
        RuntimeError("CUDA_ERROR_OUT_OF_MEMORY"),
        RuntimeError("Failed to allocate memory for requested buffer of size 536870912"),
    ],
)
def test_memory_that_is_full_is_not_the_end(error: Exception) -> None:
    """A smaller batch may fit."""
    assert is_out_of_memory(error)
    assert not is_fatal(error)


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: device-side assert triggered",
        "CUDA failure 719: unspecified launch failure",
        "CUDA_ERROR_ILLEGAL_ADDRESS",
        "uncorrectable ECC error encountered",
    ],
)
def test_device_that_has_failed_is_the_end(words: str) -> None:
    """No later run in the same process can succeed."""
    assert is_fatal(RuntimeError(words))
    assert not is_out_of_memory(RuntimeError(words))


def test_other_errors_are_of_one_scene() -> None:
    """Whatever is neither concerns the scenes that were run."""
    error = ValueError("label 300 is out of range")
    assert not is_fatal(error)
    assert not is_out_of_memory(error)
