from __future__ import annotations

import numpy as np
import pytest

from model.bundle import load_bundle
from model.bundled import bundled_model_path
from model.scenes import CLASSES, draw_scene
from model.styles import StyleChoice
from service.backends import load_engine
from service.synthesizer import Synthesizer
from training.evaluation.locality import style_locality


def test_style_locality_separates_inside_and_outside() -> None:
    """The change is averaged over the pixels of either side and over the channels."""
    before = np.full((4, 4, 3), 100, np.uint8)
    after = before.copy()
    mask = np.zeros((4, 4), bool)
    mask[:2, :2] = True
    after[:2, :2] = (40, 100, 130)  # 60, 0 and 30 grey levels
    after[3, 3] = 106
    assert style_locality(before, after, mask) == {"inside": 30.0, "outside": 0.5}


@pytest.mark.parametrize("inside", [True, False])
def test_style_locality_needs_both_sides(inside: bool) -> None:
    """A mask of the whole image, or of nothing, has no other side."""
    photo = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="inside and outside"):
        style_locality(photo, photo, np.full((4, 4), inside))


def test_style_locality_refuses_unequal_sizes() -> None:
    """The error names the three sizes."""
    photo = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=r"sizes differ: .* mask \(2, 2\)"):
        style_locality(photo, photo, np.ones((2, 2), bool))


def test_bundled_models_styles_are_local() -> None:
    """Another style for one window changes the window, and the rest by less than a grey level."""
    bundle = load_bundle(bundled_model_path())
    synthesizer = Synthesizer(bundle, load_engine(bundle, "onnx"))
    for seed in range(3):
        scene = draw_scene(256, 256, seed)
        windows = scene.instance[scene.label == CLASSES.index("window")]
        ids, sizes = np.unique(windows, return_counts=True)
        window = int(ids[np.argsort(sizes)[len(ids) // 2]])
        before, after = (
            synthesizer.run(
                [synthesizer.prepare(scene.label, scene.instance, StyleChoice(0, {window: style}))]
            )[0]
            for style in (0, 1)
        )
        change = style_locality(before, after, scene.instance == window)
        assert change["inside"] > 5
        assert change["outside"] < 1
