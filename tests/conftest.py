"""What holds for every test: those marked `gpu` are skipped where there is no GPU."""

from __future__ import annotations

import functools

import pytest


@functools.cache
def has_gpu() -> bool:
    """Say whether torch can run on a GPU here."""
    import torch

    return torch.cuda.is_available()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs a GPU on a machine that has none."""
    if item.get_closest_marker("gpu") is not None and not has_gpu():
        pytest.skip("needs an NVIDIA GPU")
