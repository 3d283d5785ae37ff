"""Published checkpoints become bundles that serve the same pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from export.build import add_engines
from export.from_reference import CITYSCAPES, bundle_from_reference, read_label_names
from model.bundle import BundleError
from model.classes import Classes, distinct_colours
from model.reference import ReferenceCheckpointError, load_reference_checkpoint

PARITY = Path(__file__).parent.parent / "parity"
ELEVEN = Classes(tuple(f"class {i}" for i in range(11)), tuple(distinct_colours(11)))


def test_checkpoint_to_engine(tmp_path: Path) -> None:
    """The imported engine gives the recorded output of the reference, rounded to pixels."""
    recorded = np.load(PARITY / "local.npz")
    bundle_from_reference(PARITY / "local.pth", None, ELEVEN, tmp_path / "b", "street")
    bundle = add_engines(tmp_path / "b", precisions=("float32",), sizes=((64, 64),))
    engine = onnxruntime.InferenceSession(
        bundle.path("generator.onnx"), providers=["CPUExecutionProvider"]
    )
    maps = {k: recorded[k][None] for k in ("label", "instance")}
    (image,) = engine.run(["image"], maps)
    wanted = np.rint((recorded["output"] + 1) * 127.5).transpose(1, 2, 0)
    assert np.abs(image[0] - wanted).max() <= 1
    assert bundle.generator.enhancers == 1


def test_styles_come_with_an_encoder(tmp_path: Path) -> None:
    """Generator and encoder together make a bundle with style channels."""
    bundle = bundle_from_reference(
        PARITY / "local_features.pth", PARITY / "encoder.pth", ELEVEN, tmp_path / "b", "styled"
    )
    assert (bundle.input.style_channels, bundle.input.edges) == (3, True)
    assert bundle.encoder == load_reference_checkpoint(PARITY / "encoder.pth").spec


def test_style_channels_are_seen_without_the_encoder(tmp_path: Path) -> None:
    """Fifteen channels over eleven labels are edges and three style channels."""
    path = PARITY / "local_features.pth"
    assert bundle_from_reference(path, None, ELEVEN, tmp_path, "s").input.style_channels == 3


def write_clusters(path: Path, width: int) -> Path:
    """Two styles for class 4, in the published file format."""
    np.save(path, np.array({4: np.linspace(-1, 1, 2 * width).reshape(2, width)}))
    return path


def test_published_clusters_become_the_styles(tmp_path: Path) -> None:
    """The bundle on disk holds the class's cluster centres."""
    bundle = bundle_from_reference(
        PARITY / "local_features.pth", PARITY / "encoder.pth", ELEVEN, tmp_path / "b", "styled",
        write_clusters(tmp_path / "clusters.npy", 3),
    )  # fmt: skip
    assert list(bundle.styles) == [4]
    assert bundle.styles[4] == pytest.approx(np.linspace(-1, 1, 6).reshape(2, 3), abs=1e-6)


@pytest.mark.parametrize(
    ("generator", "encoder", "words"),
    [
        ("local_features", "encoder", r"clusters\.npy: holds style codes of 5.*encoder makes 3"),
        ("local_features", None, "15 input channels.*11 labels, 5 style channels.*--clusters"),
        ("global", None, "12 input channels.*11 labels, 5 style channels.*--clusters"),
    ],
)
def test_clusters_of_another_model_are_refused(
    generator: str, encoder: str | None, words: str, tmp_path: Path
) -> None:
    """Codes that neither encoder nor generator knows, or that the model has no use for."""
    clusters = write_clusters(tmp_path / "clusters.npy", 5)
    with pytest.raises(ReferenceCheckpointError, match=words):
        bundle_from_reference(
            PARITY / f"{generator}.pth", PARITY / f"{encoder}.pth" if encoder else None,
            ELEVEN, tmp_path / "b", "x", clusters,
        )  # fmt: skip


def test_wrong_labels_are_refused(tmp_path: Path) -> None:
    """Too many classes for the weights is an error that shows the sum."""
    cityscapes = read_label_names("cityscapes")
    with pytest.raises(ReferenceCheckpointError, match=r"12 input channels.*35 labels"):
        bundle_from_reference(PARITY / "global.pth", None, cityscapes, tmp_path, "x")


def test_a_discriminator_is_no_generator(tmp_path: Path) -> None:
    """The error says what the file is."""
    with pytest.raises(ReferenceCheckpointError, match="MultiscaleDiscriminator, not a gen"):
        bundle_from_reference(PARITY / "discriminator.pth", None, ELEVEN, tmp_path, "x")


def test_existing_folders_are_not_overwritten(tmp_path: Path) -> None:
    """A bundle is never written over other files."""
    (tmp_path / "precious").write_text("x")
    with pytest.raises(BundleError, match="not empty"):
        bundle_from_reference(PARITY / "global.pth", None, ELEVEN, tmp_path, "x")


def test_label_names(tmp_path: Path) -> None:
    """Cityscapes' 35 names are built in; others come from a file."""
    assert read_label_names("cityscapes").names[26] == CITYSCAPES[26] == "car"
    (tmp_path / "c.json").write_text(json.dumps({"classes": ["sea", "land"]}))
    assert read_label_names(str(tmp_path / "c.json")).names == ("sea", "land")


def test_full_size_network_takes_a_2048x1024_map(tmp_path: Path) -> None:
    """A generator with 35 labels turns a 2048x1024 map into a photograph of that size."""
    from model.generator import build_generator
    from model.spec import GeneratorSpec

    spec = GeneratorSpec(
        "local", 36, width=2, downsamplings=3, blocks=1, enhancers=1, enhancer_blocks=1
    )
    torch.save(build_generator(spec).state_dict(), tmp_path / "g.pth")
    bundle_from_reference(
        tmp_path / "g.pth", None, read_label_names("cityscapes"), tmp_path / "b", "c"
    )
    bundle = add_engines(tmp_path / "b", precisions=("float32",), sizes=((64, 64),))
    engine = onnxruntime.InferenceSession(
        bundle.path("generator.onnx"), providers=["CPUExecutionProvider"]
    )
    maps = np.full((1, 1024, 2048), 33008, np.int32)
    (image,) = engine.run(["image"], {"label": (maps // 1000).astype(np.uint8), "instance": maps})
    assert image.shape == (1, 1024, 2048, 3)
