"""Styles from a photograph to a photograph, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from cli.main import cli
from model.bundle import Bundle, load_bundle
from model.checkpoint import load_encoder, load_generator, write_weights
from model.classes import Classes
from model.encoder import Encoder
from model.generator import build_generator
from model.inputs import network_input
from model.scenes import draw_scene
from model.spec import EncoderSpec, GeneratorSpec, InputSpec
from model.synthesis import to_pixels


def hdsynth(*arguments: str | Path) -> Result:
    """Run a command in this process; torch takes long to start."""
    return CliRunner().invoke(cli, list(map(str, arguments)))


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A folder with a photograph of noise and its maps, of a size that needs no padding."""
    drawn = draw_scene(80, 64, 3)
    noise = np.random.default_rng(1).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    for kind, array in (("label", drawn.label), ("instance", drawn.instance), ("image", noise)):
        (tmp_path / kind).mkdir()
        Image.fromarray(array).save(tmp_path / kind / "a.png")
    return tmp_path


def encode(scene: Path, model: Path, *options: str | Path) -> dict[str, dict[str, list[float]]]:
    """Run the command on the scene and return the styles file."""
    done = hdsynth(
        "encode", scene / "image" / "a.png", "--label", scene / "label" / "a.png",
        "--model", model, "-o", scene / "styles.json", *options,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    styles: dict[str, dict[str, list[float]]] = json.loads((scene / "styles.json").read_text())
    return styles


def synthesize(scene: Path, model: Path) -> np.ndarray:
    """Synthesise the scene's maps with the styles file."""
    done = hdsynth("synthesize", scene, "-o", scene / "out", "--model", model,
                   "--styles", scene / "styles.json")  # fmt: skip
    assert done.exit_code == 0, done.output
    return np.asarray(Image.open(scene / "out" / "a.png")).astype(int)


def test_a_data_set_lends_every_scene_its_own_styles(scene: Path, tiny_bundle: Path) -> None:
    """A folder is encoded file by file, and --styles takes the folder."""
    one = encode(scene, tiny_bundle, "--instance", scene / "instance" / "a.png")
    done = hdsynth("encode", scene, "--model", tiny_bundle, "-o", scene / "styles")
    assert done.exit_code == 0, done.output
    assert json.loads((scene / "styles" / "a.json").read_text()) == one
    photos = []
    for styles in ("styles", "styles.json"):
        out = scene / f"with {styles}"
        done = hdsynth("synthesize", scene, "-o", out, "--model", tiny_bundle,
                       "--styles", scene / styles)  # fmt: skip
        assert done.exit_code == 0, done.output
        photos.append((out / "a.png").read_bytes())
    assert photos[0] == photos[1]


def test_a_photograph_lends_its_styles_to_its_own_maps(scene: Path, tiny_bundle: Path) -> None:
    """Encoded and synthesised equals the generator on the map that the encoder paints."""
    styles = encode(scene, tiny_bundle, "--instance", scene / "instance" / "a.png")
    drawn, bundle = draw_scene(80, 64, 3), load_bundle(tiny_bundle)
    assert sorted(map(int, styles["instances"])) == np.unique(drawn.instance).tolist()
    photo = np.array(Image.open(scene / "image" / "a.png"))
    with torch.inference_mode():
        x = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1
        label, instance = (torch.from_numpy(m)[None] for m in (drawn.label, drawn.instance))
        painted = load_encoder(bundle)(x, instance)
        inputs = network_input(bundle.input, label, instance, painted)
        wanted = to_pixels(load_generator(bundle)(inputs))[0].numpy()
    assert np.abs(synthesize(scene, tiny_bundle) - wanted).max() <= 1


def test_class_styles_suit_another_scene(scene: Path, tiny_bundle: Path) -> None:
    """The file names classes, and a scene with other instances is made with it."""
    styles = encode(scene, tiny_bundle, "--per", "class")
    names, label = load_bundle(tiny_bundle).classes.names, draw_scene(80, 64, 3).label
    assert list(styles) == ["classes"]
    assert list(styles["classes"]) == [names[i] for i in np.unique(label)]
    before = synthesize(scene, tiny_bundle)
    Image.fromarray(draw_scene(80, 64, 8).label).save(scene / "label" / "a.png")
    Image.fromarray(draw_scene(80, 64, 8).instance).save(scene / "instance" / "a.png")
    assert not np.array_equal(synthesize(scene, tiny_bundle), before)


def test_without_an_instance_map_regions_are_the_instances(scene: Path, tiny_bundle: Path) -> None:
    """The same regions are found by both commands, so that the file fits."""
    styles = encode(scene, tiny_bundle)["instances"]
    assert len(styles) > len(np.unique(draw_scene(80, 64, 3).label))
    (scene / "instance" / "a.png").unlink()
    (scene / "instance").rmdir()
    synthesize(scene, tiny_bundle)


def test_mixtures_are_read_from_the_styles_file(scene: Path, tiny_bundle: Path) -> None:
    """Halfway between two styles is the style of the mean code; nonsense is named."""
    styles = load_bundle(tiny_bundle).styles[3]

    def facade(wish: object) -> np.ndarray:
        (scene / "styles.json").write_text(json.dumps({"classes": {"facade": wish}}))
        return synthesize(scene, tiny_bundle)

    mixed = facade({"between": [0, 2], "at": 0.5})
    assert np.array_equal(mixed, facade(((styles[0] + styles[2]) / 2).tolist()))
    assert not np.array_equal(mixed, facade(0))
    (scene / "styles.json").write_text('{"classes": {"facade": {"between": [0, 2], "at": 7}}}')
    done = hdsynth("synthesize", scene, "-o", scene / "out", "--model", tiny_bundle,
                   "--styles", scene / "styles.json")  # fmt: skip
    assert done.exit_code == 3
    assert 'styles.json: a style between two others lies at 0..1, not "at": 7' in done.output


def test_what_cannot_be_encoded_is_named(
    scene: Path, tiny_bundle: Path, plain_bundle: Path
) -> None:
    """A model without an encoder, and a photograph of another size."""
    arguments: list[str | Path] = [
        "encode", scene / "image" / "a.png", "--label", scene / "label" / "a.png",
        "-o", scene / "styles.json", "--model",
    ]  # fmt: skip
    done = hdsynth(*arguments, plain_bundle)
    assert done.exit_code == 4
    assert "no style encoder" in done.output
    Image.new("RGB", (80, 40)).save(scene / "image" / "a.png")
    done = hdsynth(*arguments, tiny_bundle)
    assert done.exit_code == 3
    assert "a.png: has 80x40 pixels" in done.output
    assert not (scene / "styles.json").exists()


def test_import_checkpoint_names_bad_clusters(tmp_path: Path) -> None:
    """The clusters file is read before anything is written."""
    parity = Path(__file__).parent.parent / "parity"
    (tmp_path / "classes.json").write_text(json.dumps({"classes": [str(i) for i in range(11)]}))
    np.save(tmp_path / "clusters.npy", np.zeros(3))
    done = hdsynth(
        "import-checkpoint", parity / "local_features.pth", "--clusters", tmp_path / "clusters.npy",
        "--labels", tmp_path / "classes.json", "-o", tmp_path / "b",
    )  # fmt: skip
    assert done.exit_code == 4
    assert "clusters.npy: cannot be read as style clusters" in done.output
    assert not (tmp_path / "b").exists()


@pytest.fixture
def picture_bundle(tmp_path: Path) -> Path:
    """A small random model without labels, which starts from grey pictures, with styles."""
    torch.manual_seed(0)
    spec = InputSpec(0, edges=False, style_channels=3, image_channels=1)
    # Instance norm would remove a code that is the same all over a picture.
    network = GeneratorSpec("global", 4, width=4, downsamplings=2, blocks=1, norm="batch")
    generator = build_generator(network)
    encoder = Encoder(EncoderSpec(width=4, downsamplings=2))
    bundle = Bundle(
        "pictures", spec, network, Classes((), ()), encoder.spec,
        styles={0: np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)},
        scene_styles=np.zeros((2, 1, 3), np.float32),
    )  # fmt: skip
    write_weights(bundle, tmp_path / "pictures", generator, encoder, "# pictures\n")
    return tmp_path / "pictures"


def test_without_labels_a_photograph_has_one_style(scene: Path, picture_bundle: Path) -> None:
    """Its code stands for the whole picture, unless an instance map divides it."""
    photo, out = scene / "image" / "a.png", scene / "styles.json"
    assert hdsynth("encode", photo, "--model", picture_bundle, "-o", out).exit_code == 0
    styles = json.loads(out.read_text())
    assert styles.keys() == {"instances"}
    assert styles["instances"].keys() == {"0"}
    (scene / "source").mkdir()
    Image.open(photo).save(scene / "source" / "a.jpg")
    photos = []
    for options in (["--styles", out], ["--seed", "1"]):
        done = hdsynth(
            "synthesize", scene / "source", "-o", scene / "out", "--model", picture_bundle,
            "--backend", "torch", *options,
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        photos.append(np.asarray(Image.open(scene / "out" / "a.png")))
    assert photos[0].shape == (64, 80, 3)
    assert not np.array_equal(photos[0], photos[1])
    done = hdsynth("encode", photo, "--instance", scene / "instance" / "a.png",
                   "--model", picture_bundle, "-o", out)  # fmt: skip
    assert len(json.loads(out.read_text())["instances"]) > 1
    done = hdsynth("encode", photo, "--per", "class", "--model", picture_bundle, "-o", out)
    assert done.exit_code == 2
    assert "no classes" in done.output
    assert "grey picture" in hdsynth("bundle", "show", picture_bundle).output
