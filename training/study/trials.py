"""What raters are shown: random pairs of systems, random sides, and attention checks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

EXPOSURES_S = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds of the limited-time test (paper section 4.1: 1/8 to 8 s)."""
CHECK_EVERY = 10
"""One trial in so many has a known answer."""
DAMAGED = "(damaged)"
"""Stands for the system of the wrong side of an attention check."""
_PICTURES = {".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True)
class Trial:
    """One question: which of two pictures of the same scene?"""

    picture: str
    """File name without its suffix, the same in every folder."""
    left: str
    """Name of the system whose picture is on the left."""
    right: str
    exposure_s: float | None
    """How long the pictures are shown; None = until the rater answers."""

    @property
    def is_check(self) -> bool:
        """Whether it tests the rater's attention rather than a system."""
        return DAMAGED in (self.left, self.right)


class Study:
    """The folders compared; every system's picture of a scene has the same file name.

    Raises ValueError when fewer than two folders are given, two have the same name, or no
    picture is in all of them.
    """

    def __init__(
        self, folders: Sequence[Path], labels: Path | None = None, timed: bool = False
    ) -> None:
        if len(folders) < 2:
            raise ValueError("a study compares at least two folders of pictures")
        self.systems = {folder.name: _pictures(folder) for folder in folders}
        if len(self.systems) < len(folders):
            raise ValueError("two folders have the same name; raters' votes are kept by name")
        common = set.intersection(*(set(found) for found in self.systems.values()))
        if not common:
            names = ", ".join(str(folder) for folder in folders)
            raise ValueError(f"no picture has the same file name in all of {names}")
        self.pictures, self.timed = sorted(common), timed
        self.labels = _pictures(labels) if labels else {}

    def draw(self, chance: random.Random, number: int) -> Trial:
        """Draw the ``number``-th trial of a rater, counted from 0."""
        picture = chance.choice(self.pictures)
        if number % CHECK_EVERY == CHECK_EVERY - 1:
            # Checks have no time limit: they test whether somebody looks, not how fast.
            pair = [chance.choice(sorted(self.systems)), DAMAGED]
            exposure = None
        else:
            pair = list(chance.choice(list(combinations(sorted(self.systems), 2))))
            exposure = chance.choice(EXPOSURES_S) if self.timed else None
        chance.shuffle(pair)
        return Trial(picture, pair[0], pair[1], exposure)

    def file(self, trial: Trial, side: str) -> Path:
        """Picture of the ``left`` or ``right`` side; for a damaged side, that of the other."""
        system = trial.left if side == "left" else trial.right
        if system == DAMAGED:
            system = trial.right if side == "left" else trial.left
        return self.systems[system][trial.picture]


def _pictures(folder: Path) -> dict[str, Path]:
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in _PICTURES}
