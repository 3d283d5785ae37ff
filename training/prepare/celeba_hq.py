"""CelebA-HQ: portraits without labels; drawings of their edges stand in for label maps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.prepare.landmarks import Landmarks, draw_face, installed_landmarks
from training.prepare.writer import SPLITS, Example, Item, Release, Split, files_by_name

log = logging.getLogger(__name__)

VALIDATION_SHARE = 1 / 15
"""The last 2,000 of 30,000 photographs where the release names no split."""


def read_celeba_hq(source: Path) -> Release:
    """Read CelebA-HQ as published with CelebAMask-HQ, or as published with StarGAN v2.

    Layout of CelebAMask-HQ (its part masks are not used)::

        CelebA-HQ-img/0.jpg .. 29999.jpg              the last fifteenth becomes val

    Layout of celeba_hq::

        {train,val}/{female,male}/NAME.jpg

    The source images are white lines on black. With the extra ``faces`` they run through 68 face
    landmarks and, outside the face, along Canny edges; without it, and on photographs where no
    face is found, along Canny edges alone. Raises FileNotFoundError naming what is missing,
    ImportError without the extra ``data``.
    """
    try:
        import skimage.feature  # noqa: F401 - fail before anything is written
    except ImportError as error:
        raise ImportError(
            "drawing edges needs scikit-image; install it with: pip install 'hdsynth[data]'"
        ) from error
    landmarks = installed_landmarks()
    if landmarks is None:
        log.warning("no face landmarks, only Canny edges: pip install 'hdsynth[faces]' adds them")
    items = [
        Item(split, name, partial(_load, photo, landmarks))
        for split, photos in _photos(source).items()
        for name, photo in photos.items()
    ]
    edges = "canny" if landmarks is None else "canny, landmarks"
    return Release("celeba-hq", None, items, {"edges": edges})


def _photos(source: Path) -> dict[Split, dict[str, Path]]:
    if (source / "train").is_dir():
        return {split: files_by_name(source / split, ".jpg") for split in SPLITS}
    photos = files_by_name(source / "CelebA-HQ-img", ".jpg")
    # Numbers, so that 10.jpg comes after 9.jpg.
    names = sorted(photos, key=lambda name: (len(name), name))
    first = len(names) - max(1, round(len(names) * VALIDATION_SHARE))
    return {
        "train": {name: photos[name] for name in names[:first]},
        "val": {name: photos[name] for name in names[first:]},
    }


def _load(photo: Path, landmarks: Landmarks | None) -> Example:
    def draw(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        points = landmarks(pixels) if landmarks else None
        if landmarks and points is None:
            log.warning("%s: no face found; its drawing has Canny edges alone", photo)
        return draw_edges(pixels, points)

    return Example(photo, None, draw=draw)


def draw_edges(
    photo: NDArray[np.uint8], points: NDArray[np.float64] | None = None
) -> NDArray[np.uint8]:
    """Draw the edges of a photograph (H, W, 3): (H, W) uint8, 255 on edges and 0 elsewhere.

    Canny edges at the detector's default scale (sigma 1). Given landmarks (68, 2), the face has
    their lines instead, as skin and hair shade into each other without firm edges.
    """
    from skimage import feature

    canny: Callable[..., NDArray[np.bool_]] = feature.canny
    edges = canny(np.asarray(Image.fromarray(photo).convert("L")))
    if points is not None:
        lines, face = draw_face(points, *edges.shape)
        edges = (edges & ~face) | lines
    return edges.astype(np.uint8) * np.uint8(255)
