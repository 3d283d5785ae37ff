"""A prepared data set of drawn scenes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.scenes import CLASSES, PALETTE, draw_scene


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train/ and val/ of three scenes each, "photographed" in their colours."""
    folder = tmp_path_factory.mktemp("prepared")
    palette = np.array(PALETTE, np.uint8)
    for part, seeds in (("train", range(3)), ("val", range(3, 6))):
        for kind in ("label", "instance", "image"):
            (folder / part / kind).mkdir(parents=True)
        for seed in seeds:
            scene, noise = draw_scene(80, 64, seed), np.random.default_rng(seed)
            photo = palette[scene.label] // 2 + noise.integers(0, 30, (64, 80, 3), dtype=np.uint8)
            for kind, array in (
                ("label", scene.label), ("instance", scene.instance), ("image", photo),
            ):  # fmt: skip
                Image.fromarray(array).save(folder / part / kind / f"{seed}.png")
        classes = {"classes": CLASSES, "palette": PALETTE}
        (folder / part / "classes.json").write_text(json.dumps(classes))
    return folder
