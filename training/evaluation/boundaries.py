"""Do the borders between instances show in the photograph?

A border pixel counts as found when one of the picture's strongest gradients lies near it: the
recall of the boundary benchmark of Martin, Fowlkes and Malik (2004), whose precision would punish
texture, with a share of the picture's own gradients in place of a threshold, so that contrast and
exposure do not matter. Strong texture everywhere finds borders by chance; how often is told too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.codec import edge_map

TOLERANCE = 2
"""Pixels (in rows and columns) between a border and the gradient that shows it, at most."""
STRONG = 0.1
"""Share of a picture's pixels whose gradients are its strong ones."""
BLUR = 1.0
"""Standard deviation in pixels of the Gaussian whose derivative measures gradients."""
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class BoundaryScore:
    """How much of the instances' borders shows."""

    found: float
    """Share of the border pixels near a strong gradient, 0..1."""
    chance: float
    """Share of all pixels near a strong gradient, 0..1: what borders drawn at random would get."""


def boundary_score(photo: NDArray[np.uint8], instance: NDArray[np.integer]) -> BoundaryScore | None:
    """Score a photograph (H, W, 3) against its instance map (H, W).

    None where there are no borders.
    """
    borders = edge_map(instance)
    if not borders.any():
        return None
    gradient = ndimage.gaussian_gradient_magnitude(photo @ np.array(LUMA), BLUR)
    # At least above zero: a flat picture has no strong gradients.
    strong = gradient > max(float(np.quantile(gradient, 1 - STRONG)), 1e-6)
    near = ndimage.maximum_filter(strong, 2 * TOLERANCE + 1)
    return BoundaryScore(float(near[borders].mean()), float(near.mean()))
