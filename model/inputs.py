"""Expand integer maps into the generator's input, on whatever device they are.

Labels travel as bytes (a 35-class float32 one-hot of 2048x1024 pixels is 280 MB, the byte map
2 MB) and are expanded here, for training, export and torch inference alike.
``model.codec.network_input`` defines the same result in numpy; a test holds the two equal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.spec import InputSpec


def one_hot(label: Tensor, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Expand class ids (N, H, W) to (N, count, H, W) zeros and ones.

    Ids of ``count`` and above (void) give zeros in every channel.
    """
    classes = torch.arange(count, device=label.device, dtype=label.dtype)
    return (label[:, None] == classes[:, None, None]).to(dtype)


def edge_map(instance: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Mark instance borders: (N, H, W) integer ids -> (N, 1, H, W) zeros and ones.

    A pixel is 1 where any of its four neighbours inside the image has another id, so both
    sides of a border are marked. Works on integers: half-precision ids would merge neighbours.
    """
    padded = torch.nn.functional.pad
    vertical = instance[:, 1:] != instance[:, :-1]
    horizontal = instance[:, :, 1:] != instance[:, :, :-1]
    edges = (
        padded(vertical, (0, 0, 0, 1))
        | padded(vertical, (0, 0, 1, 0))
        | padded(horizontal, (0, 1))
        | padded(horizontal, (1, 0))
    )
    return edges[:, None].to(dtype)


def paint_styles(style_index: Tensor, style_table: Tensor) -> Tensor:
    """Paint each pixel with its object's style code.

    ``style_index`` is (N, H, W) integer rows of ``style_table`` (N, M, C); returns (N, C, H, W).
    """
    n, rows, channels = style_table.shape
    offset = torch.arange(n, device=style_index.device)[:, None, None] * rows
    flat = style_table.reshape(n * rows, channels)
    return flat[style_index.long() + offset].permute(0, 3, 1, 2)


def network_input(
    spec: InputSpec,
    label: Tensor,
    instance: Tensor | None = None,
    style_map: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Assemble the generator's input (N, spec.channels, H, W).

    ``label`` is (N, H, W) class ids, or the source image (N, image_channels, H, W) in [-1, 1]
    when ``spec.label_count`` is 0; ``instance`` (N, H, W) integer ids; ``style_map``
    (N, spec.style_channels, H, W). Discriminators get the same without the style map.
    """
    planes = [one_hot(label, spec.label_count, dtype) if spec.label_count else label.to(dtype)]
    if spec.edges:
        if instance is None:
            raise ValueError("the model needs an instance map for its edge channel; none was given")
        planes.append(edge_map(instance, dtype))
    if style_map is not None:
        planes.append(style_map.to(dtype))
    return torch.cat(planes, dim=1)
