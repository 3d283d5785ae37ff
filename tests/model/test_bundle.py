"""Bundles: complete, verified, and clear about what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.bundle import DESCRIPTION, BundleError, describe, load_bundle
from model.checkpoint import load_encoder, load_generator
from model.spec import InputSpec


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of a bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change ``bundle.json``."""
    data = json.loads((folder / DESCRIPTION).read_text())
    change(data)
    (folder / DESCRIPTION).write_text(json.dumps(data))


def test_round_trip(folder: Path) -> None:
    """Describing a loaded bundle again changes nothing."""
    bundle = load_bundle(folder)
    text = (folder / DESCRIPTION).read_bytes()
    assert describe(bundle, folder).version == bundle.version
    assert (folder / DESCRIPTION).read_bytes() == text


def test_bundle_describes_the_model(tiny_bundle: Path) -> None:
    """Spec, classes, styles, engine and its parity record are there."""
    bundle = load_bundle(tiny_bundle)
    assert bundle.classes.names[10] == "window"
    assert bundle.styles[10].shape == (4, 3)
    assert bundle.styles[10].dtype == np.float32
    assert bundle.engine("onnx").parity.within_one >= 0.999
    assert bundle.input.channels == bundle.generator.input_channels == 15


def test_networks_load_from_safetensors(tiny_bundle: Path) -> None:
    """Generator and encoder come back in evaluation mode and float32."""
    bundle = load_bundle(tiny_bundle)
    for network in (load_generator(bundle), load_encoder(bundle)):
        assert not network.training
        assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("file", ["generator.safetensors", "generator.onnx", "MODEL_CARD.md"])
def test_damaged_files_are_named(folder: Path, file: str) -> None:
    """One flipped byte is found by its hash."""
    data = bytearray((folder / file).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / file).write_bytes(data)
    with pytest.raises(BundleError, match=rf"{file}.*damaged"):
        load_bundle(folder)


def test_missing_files_are_named(folder: Path) -> None:
    """A file that is listed but absent is an error."""
    (folder / "encoder.safetensors").unlink()
    with pytest.raises(BundleError, match=r"encoder\.safetensors.*missing"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=3), "format 3"),
        (lambda d: d.update(licence="x"), "licence"),
        (lambda d: d.pop("styles"), "styles"),
        (lambda d: d["generator"].update(depth=3), "depth"),
        (lambda d: d["generator"].update(input_channels=9), "15 channels"),
        (lambda d: d["size"].update(multiple=3), "size rules"),
        (lambda d: d["classes"]["names"].pop(), "class names"),
        (lambda d: d["styles"].update({"1": [[0.0]]}), "styles of class 1"),
        (lambda d: d["files"].pop("generator.onnx"), "generator.onnx"),
        (lambda d: d["files"].update({"../x": {"bytes": 1, "sha256": "0"}}), "missing"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    """Unknown, missing or contradicting entries are errors that name the entry."""
    edit(folder, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    """An empty folder and broken JSON give clear errors."""
    with pytest.raises(BundleError, match="no bundle here"):
        load_bundle(tmp_path)
    (tmp_path / DESCRIPTION).write_text("{")
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load_bundle(tmp_path)


def test_absent_engine_says_how_to_add_it(folder: Path) -> None:
    """Asking for an engine that was not exported names the command."""
    edit(folder, lambda d: d.update(engines=[]))
    with pytest.raises(BundleError, match="hdsynth export"):
        load_bundle(folder).engine("onnx")


def test_source_images_are_grey_or_rgb() -> None:
    """Another number of channels is refused by name."""
    assert InputSpec(0, edges=False, image_channels=1).channels == 1
    with pytest.raises(ValueError, match="image_channels is 4"):
        InputSpec(0, image_channels=4)


def test_bundles_of_the_first_format_load_without_their_engines(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Their graphs took only padded maps; the log says how to make new ones."""

    def to_first_format(description: dict[str, Any]) -> None:
        description["format"] = 1
        del description["encoder_engine"]

    before = load_bundle(folder)
    edit(folder, to_first_format)
    bundle = load_bundle(folder)
    assert (bundle.engines, bundle.encoder_engine) == ((), None)
    assert (bundle.input, bundle.generator) == (before.input, before.generator)
    assert "hdsynth export" in caplog.text


def test_engines_are_found_by_backend_and_precision(folder: Path) -> None:
    """One graph can stand for several runtimes and precisions."""
    bundle = load_bundle(folder)
    assert bundle.engine("onnx").precision == "float32"
    assert bundle.engine("openvino", "float32").file == "generator.openvino.onnx"
    with pytest.raises(BundleError, match="no int8 onnx engine"):
        bundle.engine("onnx", "int8")
