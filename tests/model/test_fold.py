"""Batch norms folded into convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.generator import build_generator
from model.kernels.fold import fold_batch_norms
from model.spec import GeneratorSpec


@pytest.mark.parametrize("enhancers", [0, 1])
def test_folding_leaves_no_batch_norm_and_the_same_image(enhancers: int) -> None:
    """Convolutions, transposed ones too, take over statistics, factors and offsets."""
    torch.manual_seed(0)
    spec = GeneratorSpec(
        "local" if enhancers else "global", 5, width=4, downsamplings=2, blocks=1, norm="batch",
        enhancers=enhancers, enhancer_blocks=enhancers,
    )  # fmt: skip
    network = build_generator(spec).requires_grad_(False)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            layer.weight.normal_()
            layer.bias.normal_()
    network.eval()
    x = torch.randn(2, 5, 32, 32)
    wanted = network(x)
    folded = fold_batch_norms(network)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert wanted.std() > 0.02
    torch.testing.assert_close(folded(x), wanted, rtol=1e-4, atol=1e-4)


def test_instance_norms_stay() -> None:
    """What depends on the picture cannot be folded."""
    network = build_generator(GeneratorSpec("global", 5, width=4, downsamplings=2, blocks=1)).eval()
    before = [type(layer) for layer in network.modules()]
    assert [type(layer) for layer in fold_batch_norms(network).modules()] == before
