"""The command line: from maps to photographs, with errors that help."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.bundle import load_bundle
from model.scenes import draw_scene

HDSYNTH = Path(sys.executable).with_name("hdsynth")
PARITY = Path(__file__).parent.parent / "parity"


def hdsynth(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    command = [str(HDSYNTH), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn scenes, as the sample command writes them."""
    folder = tmp_path_factory.mktemp("scenes")
    done = hdsynth("sample", folder, "--count", "3", "--size", "97x64", "--seed", "4")
    assert done.returncode == 0, done.stderr
    return folder


def picture(path: Path) -> tuple[str | None, np.ndarray]:
    """Format and pixels of an image file."""
    with Image.open(path) as image:
        return image.format, np.asarray(image)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What the command said last."""
    return done.stderr.strip().splitlines()[-1]


def test_sample_draws_label_and_instance_maps(scenes: Path) -> None:
    """Both folders hold the same names, and the maps are the drawn ones."""
    names = sorted(p.name for p in (scenes / "label").iterdir())
    assert names == sorted(p.name for p in (scenes / "instance").iterdir())
    _, label = picture(scenes / "label" / names[0])
    assert np.array_equal(label, draw_scene(97, 64, 4).label)


def test_folder_in_photographs_out(scenes: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """Every map becomes a photograph of its size and name; the sheet shows them all."""
    out, sheet = tmp_path / "photos", tmp_path / "sheet.png"
    done = hdsynth("synthesize", scenes, "-o", out, "--model", tiny_bundle, "--sheet", sheet)
    assert done.returncode == 0, done.stderr
    photos = sorted(out.iterdir())
    assert [p.stem for p in photos] == sorted(p.stem for p in (scenes / "label").iterdir())
    assert {picture(p)[1].shape for p in photos} == {(64, 97, 3)}
    assert picture(sheet)[1].shape[1] > 3 * 256
    assert "3 of 3 photographs" in last_line(done)


@pytest.mark.parametrize(("suffix", "kind"), [("jpeg", "JPEG"), ("webp", "WEBP")])
def test_formats(scenes: Path, tiny_bundle: Path, tmp_path: Path, suffix: str, kind: str) -> None:
    """Photographs come in the format that was asked for."""
    label = next((scenes / "label").iterdir())
    hdsynth("synthesize", label, "-o", tmp_path, "--model", tiny_bundle, "--format", suffix)
    (photo,) = tmp_path.iterdir()
    assert picture(photo)[0] == kind


def test_backends_agree(scenes: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """ONNX Runtime and torch write the same photographs to one grey level."""
    for backend in ("onnx", "torch"):
        out = tmp_path / backend
        done = hdsynth("synthesize", scenes, "-o", out, "--model", tiny_bundle,
                       "--backend", backend)  # fmt: skip
        assert done.returncode == 0, done.stderr
    for photo in (tmp_path / "onnx").iterdir():
        one, two = (picture(p)[1].astype(int) for p in (photo, tmp_path / "torch" / photo.name))
        assert np.abs(one - two).max() <= 1


def test_seed_and_styles_decide_the_picture(
    scenes: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    """The same seed repeats, another differs, and a styles file changes its class."""
    (tmp_path / "styles.json").write_text(json.dumps({"classes": {"facade": [1.0, -1.0, 1.0]}}))
    label = next((scenes / "label").iterdir())

    def photo(name: str, *options: str | Path) -> np.ndarray:
        done = hdsynth("synthesize", label, "-o", tmp_path / name, "--model", tiny_bundle, *options)
        assert done.returncode == 0, done.stderr
        return picture(tmp_path / name / label.name)[1]

    first = photo("a", "--seed", "1")
    assert np.array_equal(first, photo("b", "--seed", "1"))
    assert not np.array_equal(first, photo("c", "--seed", "2"))
    styled = photo("d", "--seed", "1", "--styles", tmp_path / "styles.json")
    assert not np.array_equal(first, styled)


def test_a_bad_map_is_reported_and_the_others_are_made(tiny_bundle: Path, tmp_path: Path) -> None:
    """The file, the value and the pixel are named; exit code 3."""
    (tmp_path / "label").mkdir()
    label = draw_scene(64, 64, 0).label.copy()
    Image.fromarray(label).save(tmp_path / "label" / "good.png")
    label[5, 7] = 99
    Image.fromarray(label).save(tmp_path / "label" / "bad.png")
    (tmp_path / "label" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = hdsynth("synthesize", tmp_path, "-o", tmp_path / "out", "--model", tiny_bundle)
    assert done.returncode == 3
    assert "bad.png: value 99 at x=7, y=5" in done.stderr
    assert "torn.png" in done.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.png"]
    assert "1 of 3 photographs" in last_line(done)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["synthesize", "/nonexistent", "-o", "x"], 2, "nonexistent"),
        (["synthesize", ".", "-o", "x", "--backend", "magic"], 2, "magic"),
        (["sample", "x", "--size", "512"], 2, "1024x512"),
        (["bundle", "show", "."], 4, "no bundle here"),
        (["train", ".", "-o", "run"], 3, "label"),
        (["import-checkpoint", __file__, "--labels", "cityscapes", "-o", "x"], 4, "state dict"),
    ],
)
def test_errors_are_one_line_with_a_code_of_their_kind(
    arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    """No traceback; the line names what is wrong."""
    command = [str(HDSYNTH), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert words in last_line(done)
    assert "Traceback" not in done.stderr


def test_bundle_show_tells_what_a_model_is(tiny_bundle: Path) -> None:
    """Classes, styles, engines and files are listed; --json prints the description itself."""
    text = hdsynth("bundle", "show", tiny_bundle).stdout
    for words in ("tiny", "window", "4 styles", "generator.onnx", "sha256"):
        assert words in text
    assert json.loads(hdsynth("bundle", "show", tiny_bundle, "--json").stdout)["format"] == 2


def test_a_model_card_can_be_written_later(tiny_bundle: Path, tmp_path: Path) -> None:
    """The card is replaced, the bundle verifies again, and its version is another one."""
    folder, card = tmp_path / "bundle", tmp_path / "card.md"
    shutil.copytree(tiny_bundle, folder)
    card.write_text("# Better\n")
    before = load_bundle(folder).version
    done = hdsynth("bundle", "set-card", folder, card)
    assert done.returncode == 0, done.stderr
    assert hdsynth("bundle", "show", folder, "--card").stdout.strip() == "# Better"
    assert load_bundle(folder).version != before


def test_import_checkpoint_makes_a_servable_bundle(tmp_path: Path) -> None:
    """A published checkpoint, class names, and the result synthesises."""
    names = {"classes": [f"class {i}" for i in range(11)]}
    (tmp_path / "classes.json").write_text(json.dumps(names))
    bundle = tmp_path / "bundle"
    done = hdsynth("import-checkpoint", PARITY / "global.pth", "--labels",
                   tmp_path / "classes.json", "-o", bundle)  # fmt: skip
    assert done.returncode == 0, done.stderr
    Image.fromarray(draw_scene(70, 66, 0).label).save(tmp_path / "map.png")
    done = hdsynth("synthesize", tmp_path / "map.png", "-o", tmp_path / "out", "--model", bundle)
    assert done.returncode == 0, done.stderr
    assert picture(tmp_path / "out" / "map.png")[1].shape == (66, 70, 3)


def test_data_check_counts_and_finds(tmp_path: Path) -> None:
    """A good folder passes; a missing photograph is found, with exit code 3."""
    for kind in ("label", "image"):
        (tmp_path / kind).mkdir()
    scene = draw_scene(64, 64, 0)
    (tmp_path / "classes.json").write_text(json.dumps({"classes": [str(i) for i in range(11)]}))
    for name in ("a", "b"):
        Image.fromarray(scene.label).save(tmp_path / "label" / f"{name}.png")
        Image.new("RGB", (64, 64)).save(tmp_path / "image" / f"{name}.png")
    done = hdsynth("data", "check", tmp_path, "--sheet", tmp_path / "sheet.png")
    assert done.returncode == 0, done.stderr
    assert "2 pairs (2 of 64x64); 0 problems" in done.stdout
    assert (tmp_path / "sheet.png").exists()
    (tmp_path / "image" / "b.png").unlink()
    assert hdsynth("data", "check", tmp_path).returncode == 3


def test_bench_encoders_writes_a_table(tiny_bundle: Path, tmp_path: Path) -> None:
    """Every encoder has its line."""
    table = tmp_path / "bench.md"
    options = ("--model", tiny_bundle, "--size", "80x64", "--runs", "1", "-o", table)
    done = hdsynth("bench", "encoders", *options)
    assert done.returncode == 0, done.stderr
    for encoder in ("png", "jpeg", "webp"):
        assert f"| {encoder} | 80x64 |" in table.read_text()
