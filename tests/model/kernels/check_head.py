"""The head kernel gives the pixels of the last layers; run by tests/model/test_kernels.py."""

from __future__ import annotations

import pytest
import torch

from model.kernels.head import head_table, pixel_head, reference_head


@pytest.mark.parametrize(
    ("shape", "dtype", "layout"),
    [
        ((1, 4, 4, 4), torch.float32, torch.contiguous_format),
        ((2, 32, 9, 33), torch.float16, torch.channels_last),
        ((1, 24, 17, 31), torch.float32, torch.channels_last),
    ],
)
def test_head_gives_the_reference_pixels(
    shape: tuple[int, int, int, int], dtype: torch.dtype, layout: torch.memory_format
) -> None:
    """Bytes within one level, at most one in a thousand apart, from white to black."""
    torch.manual_seed(0)
    features = torch.randn(shape).to(dtype).contiguous(memory_format=layout)
    weight = (torch.randn(3, shape[1], 7, 7) / 10).to(dtype)
    bias = torch.randn(3)
    out = pixel_head(features, head_table(weight), bias)
    wanted = reference_head(features.float(), weight.float(), bias)
    assert (out.dtype, out.shape) == (torch.uint8, (shape[0], *shape[2:], 3))
    apart = (out.int() - wanted.int()).abs()
    assert apart.max() <= 1
    assert (apart > 0).float().mean() <= 1e-3
    assert wanted.float().std() > 40


def test_head_saturates_and_keeps_the_middle() -> None:
    """Values far outside of tanh's range give 0 and 255, zero gives 128."""
    bias = torch.tensor([-1e4, 0.0, 1e4])
    out = pixel_head(torch.zeros(1, 16, 4, 4), head_table(torch.zeros(3, 16, 7, 7)), bias)
    assert torch.equal(out, torch.tensor([0, 128, 255], dtype=torch.uint8).expand(1, 4, 4, 3))
