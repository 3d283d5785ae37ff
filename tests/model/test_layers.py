"""Building blocks whose behaviour is not torch's own."""

from __future__ import annotations

import pytest
import torch

from model.layers import InstanceNorm


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [1, 2])
def test_instance_norm_has_the_right_gradient(batch: int, memory: torch.memory_format) -> None:
    """Value and gradient are those of the formula in float64, for any batch and layout."""
    torch.manual_seed(0)
    x = torch.randn(batch, 16, 8, 8, dtype=torch.float64, requires_grad=True)
    grad = torch.randn_like(x)
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    wanted = (x - mean) / torch.sqrt(variance + 1e-5)
    torch.autograd.backward(wanted, grad)
    ours = x.detach().float().to(memory_format=memory).requires_grad_()
    out = InstanceNorm(16)(ours)
    torch.autograd.backward(out, grad.float().to(memory_format=memory))
    torch.testing.assert_close(out, wanted.float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.grad, x.grad.float(), rtol=1e-4, atol=1e-5)  # type: ignore[union-attr]
    with torch.no_grad():
        torch.testing.assert_close(InstanceNorm(16)(ours), out, rtol=1e-5, atol=1e-5)
