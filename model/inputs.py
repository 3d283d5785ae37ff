"""Expand integer maps into the generator's input, on whatever device they are.

Labels travel as bytes (a 35-class float32 one-hot of 2048x1024 pixels is 280 MB, the byte map
2 MB) and are expanded here, for training, export and torch inference alike.
``model.codec.network_input`` defines the same result in numpy; a test holds the two equal.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from model.spec import InputSpec


def one_hot(label: Tensor, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Expand class ids (N, H, W) to (N, count, H, W) zeros and ones.

    Ids of ``count`` and above (void) give zeros in every channel.
    """
    # Compared as int32: TensorRT takes bytes only as inputs and outputs of a graph.
    classes = torch.arange(count, device=label.device, dtype=torch.int32)
    return (label.int()[:, None] == classes[:, None, None]).to(dtype)


def source_planes(image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn source images (N, H, W, C) uint8 into planes (N, C, H, W) in [-1, 1]."""
    # Bytes become floats first: engines move bytes about less well, TensorRT not at all.
    return image.float().div(127.5).sub(1.0).permute(0, 3, 1, 2).to(dtype)


def edge_map(instance: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Mark instance borders: (N, H, W) integer ids -> (N, 1, H, W) zeros and ones.

    A pixel is 1 where any of its four neighbours inside the image has another id, so both
    sides of a border are marked. Works on integers: half-precision ids would merge neighbours.
    """
    vertical = instance[:, 1:] != instance[:, :-1]
    horizontal = instance[:, :, 1:] != instance[:, :, :-1]
    edges = (
        F.pad(vertical, (0, 0, 0, 1))
        | F.pad(vertical, (0, 0, 1, 0))
        | F.pad(horizontal, (0, 1))
        | F.pad(horizontal, (1, 0))
    )
    return edges[:, None].to(dtype)


def paint_styles(style_index: Tensor, style_table: Tensor) -> Tensor:
    """Paint each pixel with its object's style code.

    ``style_index`` is (N, H, W) integer rows of ``style_table`` (N, M, C); returns (N, C, H, W).
    """
    n, rows, channels = style_table.shape
    first = torch.arange(n, device=style_index.device, dtype=torch.int32)[:, None, None] * rows
    flat = style_table.reshape(n * rows, channels)
    return F.embedding(style_index.int() + first, flat).permute(0, 3, 1, 2)


def network_input(
    spec: InputSpec,
    label: Tensor,
    instance: Tensor | None = None,
    style_map: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Assemble the generator's input (N, spec.channels, H, W).

    ``label`` is (N, H, W) class ids, or the source image (N, H, W, spec.image_channels) uint8
    when ``spec.label_count`` is 0; ``instance`` (N, H, W) integer ids; ``style_map``
    (N, spec.style_channels, H, W). Discriminators get the same without the style map.
    """
    if spec.label_count:
        planes = [one_hot(label, spec.label_count, dtype)]
    else:
        planes = [source_planes(label, dtype)]
    if spec.edges:
        if instance is None:
            raise ValueError("the model needs an instance map for its edge channel; none was given")
        planes.append(edge_map(instance, dtype))
    if style_map is not None:
        planes.append(style_map.to(dtype))
    return torch.cat(planes, dim=1)
