"""Take style codes from a photograph: what its style encoder sees in every object."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from model.codec import legal_size, pad_reflect
from model.encoder import Encoder, instance_mean


def encode_styles(
    encoder: Encoder, photo: NDArray[np.uint8], index: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return the code of every object of a photograph: (M, C) float32 in [-1, 1].

    ``photo`` is (H, W, 3) RGB of any size, ``index`` (H, W) the object number of every pixel, as
    in ``Maps.index``. Row m belongs to the m-th lowest of the numbers that occur.
    """
    height, width = index.shape
    multiple = encoder.spec.size_multiple
    # Two pixels a side are left at the bottleneck, which instance norm needs.
    size = legal_size(height, width, multiple, 2 * multiple)
    planes = np.stack([pad_reflect(plane, *size) for plane in photo.transpose(2, 0, 1)])
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        image = torch.from_numpy(planes)[None].to(device).float() / 127.5 - 1.0
        # Cropped before the mean is taken, so that mirrored pixels have no part in it.
        features = encoder.model(image)[..., :height, :width]
        painted = instance_mean(features, torch.from_numpy(index)[None].to(device))[0]
    # The code is the same all over an object, so that its first pixel tells it.
    _, first = np.unique(index, return_index=True)
    codes: NDArray[np.float32] = painted.flatten(1)[:, first].T.cpu().numpy()
    return codes
