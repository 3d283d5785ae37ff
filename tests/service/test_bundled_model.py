"""The model that ships with hdsynth."""

from __future__ import annotations

import numpy as np
import pytest

from model.bundle import MODEL_CARD, Bundle, load_bundle
from model.bundled import bundled_model_path
from model.scenes import CLASSES, draw_scene
from model.styles import StyleChoice
from service.backends import load_engine
from service.synthesizer import Synthesizer

WINDOW = CLASSES.index("window")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The bundled model."""
    return load_bundle(bundled_model_path())


@pytest.fixture(scope="module")
def synthesizer(bundle: Bundle) -> Synthesizer:
    """The bundled model on ONNX Runtime."""
    return Synthesizer(bundle, load_engine(bundle, "onnx"))


def test_it_is_small_and_knows_the_sample_scenes(bundle: Bundle) -> None:
    """At most 30 MB, with the classes that are drawn and styles for each of them."""
    assert bundle.folder is not None
    assert sum(p.stat().st_size for p in bundle.folder.iterdir()) <= 30_000_000
    assert bundle.classes.names == CLASSES
    assert {len(bundle.styles[label]) for label in range(len(CLASSES))} == {10}
    assert bundle.scene_styles is not None


def test_its_card_says_what_a_user_must_know(bundle: Bundle) -> None:
    """Data, attribution, licence, budget, scores and limits have their place."""
    card = bundle.path(MODEL_CARD).read_text(encoding="utf-8").lower()
    for word in ("data", "attribution", "licence", "cc by 4.0", "budget", "scores", "limits"):
        assert word in card


def test_onnx_runtime_and_torch_agree(bundle: Bundle, synthesizer: Synthesizer) -> None:
    """On a drawn scene at least 99.9 % of the values agree to one grey level, as recorded."""
    drawn = draw_scene(256, 256, 11)
    reference = Synthesizer(bundle, load_engine(bundle, "torch"))
    fast, exact = (
        s.run([s.prepare(drawn.label, drawn.instance)])[0].astype(int)
        for s in (synthesizer, reference)
    )
    assert (np.abs(fast - exact) <= 1).mean() >= 0.999
    assert bundle.engine("onnx").parity.within_one >= 0.999


def test_windows_stand_out_from_their_walls(synthesizer: Synthesizer) -> None:
    """Every style of window makes another picture, and hardly touches the wall far from it."""
    label = np.full((128, 128), CLASSES.index("facade"), np.uint8)
    label[40:88, 40:88] = WINDOW
    photos = [
        synthesizer.run([synthesizer.prepare(label, None, StyleChoice(classes={WINDOW: style}))])[0]
        for style in (0, 9)
    ]
    change = np.abs(photos[0].astype(int) - photos[1]).mean(2)
    inside = change[label == WINDOW].mean()
    assert inside > 10
    assert change[:24].mean() < inside / 5


def test_a_style_code_is_a_colour(synthesizer: Synthesizer) -> None:
    """A wall asked to be light comes out lighter than one asked to be dark."""
    facade = CLASSES.index("facade")
    label = np.full((64, 64), facade, np.uint8)
    dark, light = (
        synthesizer.run(
            [synthesizer.prepare(label, None, StyleChoice(classes={facade: (tone,) * 3}))]
        )[0].mean()
        for tone in (-0.7, 0.5)
    )
    assert light > dark + 60
