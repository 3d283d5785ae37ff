"""Signs that a run no longer learns, told once per checkpoint; whether to stop is the user's call.

Neither sign is visible in the generator's losses, which stay finite and may even fall.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from training.config import Gan

UNDECIDED: dict[Gan, float] = {"lsgan": 0.25, "hinge": 1.0, "vanilla": math.log(2)}
"""Least loss per scale of a discriminator that can't tell fakes from photographs."""

WON = 0.05
"""The discriminator has won when its loss is below this share of the undecided one."""

COLLAPSED = 0.05
"""The generator has collapsed when its images vary by less than this share of the real ones."""


def discriminator_alarm(loss: float, gan: Gan, scales: int) -> str | None:
    """Return a warning when the discriminator has won: the generator learns no more from it.

    ``loss`` is the mean since the last checkpoint of half the sum of the errors on fake and real
    images, summed over the ``scales``.
    """
    limit = WON * UNDECIDED[gan] * scales
    if loss >= limit:
        return None
    return (
        f"the discriminator has won: its mean loss {loss:.4f} is below {limit:.4f}, so the "
        "generator learns little from it. Make it weaker (--set discriminator_width=N, "
        "--set discriminator_scales=N) or give the run more images"
    )


def collapse_alarm(fakes: NDArray[np.uint8], reals: NDArray[np.uint8]) -> str | None:
    """Return a warning when the generator answers all label maps alike.

    ``fakes`` and ``reals`` are (N, H, W, 3) in 0..255, of the same N examples. What counts is
    how much a pixel varies from example to example.
    """
    varies, should = (float(images.std(axis=0).mean()) for images in (fakes, reals))
    if varies >= COLLAPSED * should:
        return None
    return (
        f"the generator has collapsed: a pixel of its images deviates by {varies:.2f} levels from "
        f"example to example, one of the photographs by {should:.2f}. Start a new "
        "run with a lower --learning-rate or a larger --batch"
    )
