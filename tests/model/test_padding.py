"""Padding on tensors is the padding on arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.codec import legal_size, pad_reflect
from model.padding import pad_to_legal


@pytest.mark.parametrize(
    "size", [(16, 24), (1, 1), (1, 9), (3, 5), (17, 8), (15, 33), (2, 100)], ids=str
)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_any_size_is_mirrored_as_by_numpy(size: tuple[int, int], channels: tuple[int, ...]) -> None:
    """Legal sizes stay, others are mirrored, as often as it takes."""
    shape = (2, *size, *channels)
    images = np.random.default_rng(0).integers(0, 1000, shape).astype(np.int32)
    padded = pad_to_legal(torch.from_numpy(images), 8, 16).numpy()
    wanted = np.stack([pad_reflect(image, *legal_size(*size, 8, 16)) for image in images])
    assert padded.dtype == np.int32
    assert np.array_equal(padded, wanted)
