"""How far does the change of one object's style reach?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def style_locality(
    before: NDArray[np.uint8], after: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> dict[str, float]:
    """Tell how local a change of style is, from two photographs (H, W, 3) and a mask (H, W).

    Returns the mean absolute change over pixels and channels, in grey levels 0..255, "inside"
    and "outside" the mask. Raises ValueError for unequal sizes or a mask without either part.
    """
    if before.shape != after.shape or before.shape[:2] != mask.shape:
        raise ValueError(
            f"sizes differ: before {before.shape}, after {after.shape}, mask {mask.shape}"
        )
    if mask.all() or not mask.any():
        raise ValueError("the mask must have pixels inside and outside the instance")
    change = np.abs(before.astype(np.int16) - after).mean(axis=2)
    return {"inside": float(change[mask].mean()), "outside": float(change[~mask].mean())}
