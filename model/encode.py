"""Take style codes from a photograph: what its style encoder sees in every object."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from model.encoder import Encoder, instance_mean
from model.synthesis import Encoding


def encode_styles(
    encoder: Encoder, photo: NDArray[np.uint8], index: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return the code of every object of a photograph: (M, C) float32 in [-1, 1].

    ``photo`` is (H, W, 3) RGB of any size, ``index`` (H, W) the object number of every pixel, as
    in ``Maps.index``. Row m belongs to the m-th lowest of the numbers that occur.
    """
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        # Mirrored pixels, which fill the photograph up to a legal size, have no part in the mean.
        features = Encoding(encoder)(torch.from_numpy(photo)[None].to(device))
        painted = instance_mean(features, torch.from_numpy(index)[None].to(device))[0]
    # The code is the same all over an object, so that its first pixel tells it.
    _, first = np.unique(index, return_index=True)
    codes: NDArray[np.float32] = painted.flatten(1)[:, first].T.cpu().numpy()
    return codes
