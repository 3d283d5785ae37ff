"""Extend images of any size to a legal one by mirroring, in the graph itself.

``model.codec`` does the same to numpy arrays; a test holds the two equal. Row and column numbers
are computed and gathered, because padding operators neither take integers everywhere nor mirror
more than an image holds.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pad_to_legal(images: Tensor, multiple: int, minimum: int) -> Tensor:
    """Mirror images (N, H, W) or (N, H, W, C) at the bottom and right.

    Height and width become multiples of ``multiple`` of at least ``minimum``, which is one itself.
    """
    rows = _mirrored(images.shape[1], multiple, minimum, images.device)
    columns = _mirrored(images.shape[2], multiple, minimum, images.device)
    return images.index_select(1, rows).index_select(2, columns)


def _mirrored(side: int, multiple: int, minimum: int, device: torch.device) -> Tensor:
    """Where each row of the extended image comes from: 0 1 2 3 2 1 0 1 for 4 rows made 8."""
    # In this form the exporter sees that the sides are multiples, whatever their symbol.
    legal = multiple * _larger(minimum // multiple, (side + multiple - 1) // multiple)
    place = torch.arange(legal, device=device)
    # A tensor, because the exporter knows no remainder by a symbol. A side of 1 has no mirror.
    period = torch.ones_like(place) * _larger(1, 2 * (side - 1))
    step = place % period
    # Not an absolute value: OpenVINO 2026.4 folds those of 64-bit constants wrongly.
    return torch.minimum(step, period - step)


def _larger(first: int, second: int) -> int:
    """The larger of two sizes, which may be symbols of the exporter."""
    larger: int = torch.sym_max(first, second)  # type: ignore[no-untyped-call]
    return larger
