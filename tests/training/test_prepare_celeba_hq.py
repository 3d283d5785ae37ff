from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.image_io import read_label_map
from model.source_io import read_source
from tests.training.releases import disc, save, write_celeba_hq
from training.check import check_folder
from training.data import find_pairs
from training.prepare import prepare
from training.prepare.celeba_hq import draw_edges
from training.prepare.landmarks import DlibLandmarks, draw_face

skimage_data = pytest.importorskip("skimage.data")


def face_points() -> NDArray[np.float64]:
    """Return 68 landmarks of a made-up face, 100 pixels wide, its temples at y = 100."""
    angle = np.linspace(np.pi, 0, 17)
    points = np.full((68, 2), 100.0)
    points[:17] = np.stack([100 + 50 * np.cos(angle), 100 + 60 * np.sin(angle)], axis=1)
    points[17:27, 0], points[17:27, 1] = np.linspace(70, 130, 10), 85
    points[27:31, 0], points[27:31, 1] = 100, np.linspace(90, 110, 4)
    points[31:36, 0], points[31:36, 1] = np.linspace(92, 108, 5), 115
    for first, centre in ((36, 80), (42, 120)):
        turn = np.pi - np.arange(6) * np.pi / 3
        eye = np.stack([centre + 8 * np.cos(turn), 95 - 4 * np.sin(turn)], axis=1)
        points[first : first + 6] = eye
    turn = np.pi - np.arange(12) * np.pi / 6
    points[48:60] = np.stack([100 + 20 * np.cos(turn), 135 - 8 * np.sin(turn)], axis=1)
    turn = np.pi - np.arange(8) * np.pi / 4
    points[60:68] = np.stack([100 + 14 * np.cos(turn), 135 + 0 * np.sin(turn)], axis=1)
    return points


@pytest.fixture
def without_landmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the extra for landmarks look as if it weren't installed."""
    monkeypatch.setitem(sys.modules, "dlib", None)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A miniature release."""
    return write_celeba_hq(tmp_path / "CelebAMask-HQ")


@pytest.mark.usefixtures("without_landmarks")
def test_photographs_become_drawings_of_their_edges(
    release: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every photograph gets a ring of edges; the last fifteenth by number is for validation."""
    with caplog.at_level(logging.WARNING):
        list(prepare("celeba-hq", release, tmp_path / "out"))
    assert "hdsynth[faces]" in caplog.text
    names = [pair.name for pair in find_pairs(tmp_path / "out" / "train")]
    assert sorted(names, key=int) == [str(number) for number in range(15)]
    (pair,) = find_pairs(tmp_path / "out" / "val")
    assert pair.name == "15"
    drawing = read_source(pair.label, 1)[..., 0]
    assert np.unique(drawing).tolist() == [0, 255]
    y, x = np.nonzero(drawing)
    assert len(y) > 50
    np.testing.assert_allclose(np.hypot(y - 24, x - 32), 12, atol=2)
    assert pair.image.read_bytes() == (release / "CelebA-HQ-img" / "15.jpg").read_bytes()
    for split in ("train", "val"):
        report = check_folder(tmp_path / "out" / split)
        assert (report.problems, report.warnings) == ([], [])
        assert report.source_channels == 1


@pytest.mark.usefixtures("without_landmarks")
def test_edges_are_drawn_after_resizing(release: Path, tmp_path: Path) -> None:
    """At half the size the edges are still whole lines, because they are found there."""
    list(prepare("celeba-hq", release, tmp_path / "out", size=24))
    (pair,) = find_pairs(tmp_path / "out" / "val")
    label = read_label_map(pair.label)
    assert label.shape == (24, 32)
    with Image.open(release / "CelebA-HQ-img" / "15.jpg") as photo:
        small = np.asarray(photo.resize((32, 24), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(label, draw_edges(small))
    assert label.any()


@pytest.mark.usefixtures("without_landmarks")
def test_release_with_its_own_split_keeps_it(tmp_path: Path) -> None:
    """The layout with train and val folders is recognised."""
    source = tmp_path / "celeba_hq"
    save(source / "train" / "female" / "000016.jpg", disc())
    save(source / "train" / "male" / "000020.jpg", disc())
    save(source / "val" / "female" / "000002.jpg", disc())
    names = [step.name for step in prepare("celeba-hq", source, tmp_path / "out")]
    assert names == ["train/000016", "train/000020", "val/000002"]


@pytest.mark.usefixtures("without_landmarks")
def test_missing_photographs_are_named(tmp_path: Path) -> None:
    """The error says where the photographs are expected."""
    with pytest.raises(FileNotFoundError, match="CelebA-HQ-img"):
        prepare("celeba-hq", tmp_path, tmp_path / "out")


def test_missing_extra_is_named(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without scikit-image the error says which extra to install."""
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(ImportError, match=r"hdsynth\[data\]"):
        prepare("celeba-hq", release, tmp_path / "out")


def test_face_lines_run_through_the_landmarks() -> None:
    """Every landmark lies on a line; the face reaches two thirds as far up as the jaw down."""
    points = face_points()
    lines, face = draw_face(points, 200, 220)
    assert lines.shape == face.shape == (200, 220)
    for x, y in points:
        place = lines[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2]
        assert place.any(), (x, y)
    rows = np.flatnonzero(face[:, 100])
    assert abs(rows[0] - (100 - 60 * 2 / 3)) <= 2
    assert abs(rows[-1] - 160) <= 2
    assert not face[:, :45].any()


def test_landmarks_replace_canny_edges_inside_the_face() -> None:
    """Texture on the skin vanishes, edges outside the face stay."""
    photo = np.random.default_rng(0).integers(0, 256, (200, 220, 3), np.uint8)
    plain, drawn = draw_edges(photo), draw_edges(photo, face_points())
    lines, face = draw_face(face_points(), 200, 220)
    np.testing.assert_array_equal(drawn[~face] > 0, (plain[~face] > 0) | lines[~face])
    np.testing.assert_array_equal(drawn[face] > 0, lines[face])


def test_real_face_gets_its_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """On a portrait the detector finds mouth and eyes; on a disc it says that there is no face."""
    pytest.importorskip("dlib")
    portrait = skimage_data.astronaut()[:300, 60:360]
    points = DlibLandmarks()(portrait)
    assert points is not None
    eyes, mouth = points[36:48].mean(axis=0), points[48:].mean(axis=0)
    np.testing.assert_allclose(eyes, (163, 102), atol=8)
    np.testing.assert_allclose(mouth, (165, 145), atol=8)

    source = tmp_path / "celeba_hq"
    save(source / "train" / "female" / "1.jpg", portrait)
    save(source / "val" / "female" / "2.jpg", disc(128, 128))
    with caplog.at_level(logging.WARNING):
        list(prepare("celeba-hq", source, tmp_path / "out"))
    assert "2.jpg: no face found" in caplog.text
    assert "1.jpg" not in caplog.text
    (pair,) = find_pairs(tmp_path / "out" / "train")
    label = read_label_map(pair.label)
    plain = draw_edges(portrait)
    cheek = np.s_[115:130, 145:155]
    assert plain[cheek].any()
    assert not label[cheek].any()
    record = json.loads((tmp_path / "out" / "prepare.json").read_text(encoding="utf-8"))
    assert record["edges"] == "canny, landmarks"
    assert check_folder(tmp_path / "out" / "train").problems == []
