"""Batch norms with fixed statistics, folded into the convolutions before them."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def fold_batch_norms(network: Network) -> Network:
    """Fold every batch norm of ``network``, in evaluation mode, into its convolution, in place.

    With fixed statistics a batch norm is one factor and one offset per channel, so the result is
    the same up to rounding. Instance norms, which depend on the picture, stay.
    """
    for layers in network.modules():
        if isinstance(layers, nn.Sequential):
            for i in range(len(layers) - 1):
                conv, norm = layers[i], layers[i + 1]
                if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and isinstance(
                    norm, nn.BatchNorm2d
                ):
                    transposed = isinstance(conv, nn.ConvTranspose2d)
                    layers[i] = fuse_conv_bn_eval(conv, norm, transposed)
                    layers[i + 1] = nn.Identity()
    return network
