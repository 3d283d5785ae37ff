"""Graphs that keep the normalisation statistics of an earlier photograph."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from export.build import FROZEN_GRAPH, add_engines
from export.frozen_statistics import FROZEN, GIVEN
from export.parity import random_scenes
from model.bundle import Bundle, BundleError, load_bundle
from model.bundled import bundled_model_path
from model.onnx_graph import OnnxGraph


@pytest.fixture(scope="module")
def bundle(plain_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with the graph."""
    folder = tmp_path_factory.mktemp("frozen") / "bundle"
    shutil.copytree(plain_bundle, folder)
    return add_engines(folder, precisions=("float32",), sizes=((64, 48),), frozen=True)


def run(
    bundle: Bundle, seed: int, given: NDArray[np.float32] | None = None, *, rows: int = 2
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Run random scenes with their own statistics or with given ones."""
    graph = OnnxGraph(bundle.path(FROZEN_GRAPH), 1)
    feeds = random_scenes(bundle, rows, 50, 66, seed)
    own = np.zeros((rows, *graph.shapes[GIVEN][1:]), np.float32)
    frozen = np.full(rows, given is not None)
    photos, used = graph.run_all({**feeds, GIVEN: own if given is None else given, FROZEN: frozen})
    return photos, used


def test_statistics_of_the_same_frame_give_the_same_pixels(bundle: Bundle) -> None:
    """What a run has recorded, given to it again, changes no bit."""
    photos, used = run(bundle, seed=1)
    again, kept = run(bundle, seed=1, given=used)
    assert np.array_equal(again, photos)
    assert np.array_equal(kept, used)


def test_own_statistics_give_the_usual_photograph(bundle: Bundle) -> None:
    """Where nothing is frozen the pixels are those of the plain graph; frozen ones differ."""
    plain = OnnxGraph(bundle.path(bundle.engine("onnx", "float32").file), 1)
    photos, _ = run(bundle, seed=2)
    wanted = plain.run(random_scenes(bundle, 2, 50, 66, 2))
    assert np.abs(photos.astype(int) - wanted).max() <= 1
    _, other = run(bundle, seed=3)
    frozen, kept = run(bundle, seed=2, given=other)
    assert np.array_equal(kept, other)
    assert np.abs(frozen.astype(int) - wanted).max() > 1


def test_parity_of_the_graph_is_recorded(bundle: Bundle) -> None:
    """It was compared with torch as every engine is."""
    engine = load_bundle(bundle.path("")).engine("onnx-frozen")
    assert engine.file == FROZEN_GRAPH
    assert engine.parity.within_one >= 0.999


def test_fixed_statistics_need_no_freezing(tmp_path: Path) -> None:
    """A model with batch norm is refused, with words, and stays as it was."""
    folder = tmp_path / "facades"
    shutil.copytree(bundled_model_path(), folder)
    with pytest.raises(BundleError, match="no instance norm"):
        add_engines(folder, precisions=("float32",), sizes=((64, 64),), frozen=True)
    assert not (folder / FROZEN_GRAPH).exists()
