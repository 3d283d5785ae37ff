"""A small data set of drawn pairs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.scenes import CLASSES, PALETTE, draw_scene


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five drawn scenes with "photographs" that colour every class and add noise."""
    folder = tmp_path_factory.mktemp("data") / "train"
    for kind in ("label", "instance", "image"):
        (folder / kind).mkdir(parents=True)
    palette = np.array(PALETTE, np.uint8)
    for seed in range(5):
        scene = draw_scene(80, 64, seed)
        noise = np.random.default_rng(seed).integers(0, 30, (64, 80, 3))
        photo = np.clip(palette[scene.label] + noise, 0, 255).astype(np.uint8)
        Image.fromarray(scene.label).save(folder / "label" / f"{seed}.png")
        Image.fromarray(scene.instance).save(folder / "instance" / f"{seed}.png")
        Image.fromarray(photo).save(folder / "image" / f"{seed}.png")
    (folder / "classes.json").write_text(json.dumps({"classes": CLASSES, "palette": PALETTE}))
    return folder
