"""The stem kernels give the convolution over one-hots; run by tests/model/test_kernels.py."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.kernels.stem import (
    one_hot_stem,
    pool_labels,
    pooled_stem,
    reference_pooled_stem,
    reference_stem,
    stem_table,
)

# Images, height, width, labels, dense channels, output channels. The first is the smallest that
# can be reflected; none is a multiple of what a program works on.
SHAPES = [(1, 4, 4, 3, 1, 4), (2, 8, 9, 11, 2, 20), (1, 5, 27, 35, 0, 33)]


def draw(shape: tuple[int, ...], whole: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw labels with voids, dense channels, weights and bias; small whole numbers on demand."""
    n, height, width, labels, planes, channels = shape
    torch.manual_seed(sum(shape))
    label = torch.randint(0, labels + 1, (n, height, width), dtype=torch.uint8)
    label[0, 0, 0], label[-1, -1, -1] = 255, labels
    dense = torch.randn(n, height, width, planes)
    weight = torch.randn(channels, labels + planes, 7, 7)
    bias = torch.randn(channels)
    if whole:
        dense, weight, bias = ((t * 3).round() for t in (dense, weight, bias))
    return label, dense, weight, bias


def half_dense(dense: Tensor) -> Tensor:
    """Average the dense channels (N, H, W, D) down as the network does."""
    planes = dense.permute(0, 3, 1, 2)
    if planes.shape[1]:
        planes = torch.nn.functional.avg_pool2d(planes, 3, 2, 1, count_include_pad=False)
    return planes.permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize("shape", SHAPES)
def test_stem_is_exact_on_whole_numbers(shape: tuple[int, ...]) -> None:
    """Sums of whole numbers are the same to the last bit, borders and voids included."""
    label, dense, weight, bias = draw(shape, whole=True)
    out = one_hot_stem(label, dense, stem_table(weight, shape[3]), bias, relu=False)
    assert out.shape == (*shape[:3], shape[5])
    assert torch.equal(out.permute(0, 3, 1, 2), reference_stem(label, dense, weight, bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_stem_rounds_only_weights_and_result(dtype: torch.dtype) -> None:
    """In half precision the sum is kept in float32: only the type's own rounding is left."""
    label, dense, weight, bias = draw((1, 5, 9, 11, 3, 20))
    weight = weight.to(dtype).float()
    out = one_hot_stem(label, dense, stem_table(weight.to(dtype), 11), bias, relu=False)
    assert out.dtype == dtype
    wanted = reference_stem(label, dense, weight, bias)
    tolerance = max(torch.finfo(dtype).eps, 1e-6)
    torch.testing.assert_close(
        out.permute(0, 3, 1, 2).float(), wanted, rtol=tolerance, atol=10 * tolerance
    )


def test_stem_takes_edges_as_bytes_and_does_the_relu() -> None:
    """A byte plane is as good as a float one, and negative sums become zero."""
    label, dense, weight, bias = draw((1, 4, 9, 5, 1, 7), whole=True)
    edges = (dense > 0).to(torch.uint8)
    out = one_hot_stem(label, edges, stem_table(weight, 5), bias, relu=True)
    wanted = reference_stem(label, edges, weight, bias)
    assert wanted.min() < 0
    assert torch.equal(out.permute(0, 3, 1, 2), wanted.relu())


def test_void_adds_nothing() -> None:
    """A map without any class gives the bias everywhere."""
    _, _, weight, bias = draw((1, 5, 5, 3, 0, 4))
    label = torch.tensor([3, 4, 100, 254, 255], dtype=torch.uint8).expand(1, 5, 5)
    out = one_hot_stem(label, torch.empty(1, 5, 5, 0), stem_table(weight, 3), bias, relu=False)
    assert torch.equal(out, bias.expand(1, 5, 5, 4))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 14), (12, 7)])
def test_pooled_lists_are_the_fractions_of_the_average(height: int, width: int) -> None:
    """Written back to planes, the lists are the averaged one-hots, to the last bit."""
    torch.manual_seed(0)
    label = torch.randint(0, 7, (2, height, width), dtype=torch.uint8)
    labels, shares, distinct = pool_labels(label, 6)
    planes = torch.zeros(2, 6, *distinct.shape[1:])
    for entry in range(int(distinct.max())):
        there = entry < distinct
        assert (labels[entry][there] < 6).all()
        chosen = torch.where(there, labels[entry], 0).long()[:, None]
        planes.scatter_add_(1, chosen, torch.where(there, shares[entry], 0)[:, None])
    one_hot = (label[:, None] == torch.arange(6)[:, None, None]).float()
    wanted = torch.nn.functional.avg_pool2d(one_hot, 3, 2, 1, count_include_pad=False)
    assert torch.equal(planes, wanted)
    assert torch.equal(distinct, (wanted > 0).sum(1).to(torch.uint8))


@pytest.mark.parametrize("shape", [(1, 7, 8, 3, 1, 4), (2, 9, 14, 11, 2, 20)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_pooled_stem_sees_fractional_one_hots(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """The stem on halved maps is the convolution over the averaged input."""
    label, dense, weight, bias = draw(shape)
    weight = weight.to(dtype).float()
    table = stem_table(weight.to(dtype), shape[3])
    lists = pool_labels(label, shape[3])
    out = pooled_stem(*lists, half_dense(dense), table, bias, relu=False)
    wanted = reference_pooled_stem(label, dense, weight, bias)
    tolerance = max(torch.finfo(dtype).eps, 2e-6)
    torch.testing.assert_close(
        out.permute(0, 3, 1, 2).float(), wanted, rtol=tolerance, atol=10 * tolerance
    )
