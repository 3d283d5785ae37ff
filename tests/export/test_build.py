"""All engines of a bundle: float32, float16, int8 and the style encoder's."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import export.parity
from export.build import add_engines
from export.parity import (
    ParityError,
    Sample,
    Tolerance,
    check_parity,
    compare,
    random_photos,
    random_scenes,
    summarise,
)
from export.real_scenes import NoScenesError, real_scenes
from model.bundle import Bundle, Precision, load_bundle
from model.checkpoint import load_encoder, load_generator, write_weights
from model.classes import Classes
from model.encoder import Encoder
from model.generator import build_generator
from model.layers import init_weights
from model.onnx_graph import OnnxGraph
from model.openvino_graph import OpenVinoGraph
from model.scenes import CLASSES, PALETTE, write_scenes
from model.spec import EncoderSpec, GeneratorSpec, InputSpec
from model.synthesis import Encoding, Synthesis

SIZES = ((64, 48), (37, 29))


def write_mild_bundle(folder: Path, classes: tuple[str, ...] = CLASSES) -> Bundle:
    """A bundle with batch norm and styles, whose photographs are no noise."""
    torch.manual_seed(0)
    spec = InputSpec(len(classes), style_channels=2)
    network = GeneratorSpec("global", spec.channels, width=4, downsamplings=2, blocks=1,
                            norm="batch")  # fmt: skip
    encoder = EncoderSpec(output_channels=2, width=4, downsamplings=2, norm="batch")
    generator = build_generator(network).apply(init_weights)
    generator(torch.randn(4, spec.channels, 32, 32))  # fills the statistics of the norms
    bundle = Bundle("mild", spec, network, Classes(classes, PALETTE[: len(classes)]), encoder)
    return write_weights(
        bundle, folder, generator, Encoder(encoder).apply(init_weights), "# mild\n"
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with every engine."""
    folder = tmp_path_factory.mktemp("models") / "mild"
    write_mild_bundle(folder)
    return add_engines(folder, ("float16", "int8"), SIZES)


def test_every_runtime_has_its_record(bundle: Bundle) -> None:
    """An engine is a graph on a runtime in a precision, each compared with torch by itself."""
    found = {(e.file, e.backend, e.precision) for e in bundle.engines}
    assert found >= {
        ("generator.onnx", "onnx", "float32"),
        ("generator.openvino.onnx", "openvino", "float32"),
        ("generator.fp16.onnx", "onnx", "float16"),
        ("generator.int8.onnx", "onnx", "int8"),
        ("generator.int8.onnx", "openvino", "int8"),
    }
    for engine in bundle.engines:
        assert engine.parity.scenes == 6
        if engine.precision in {"float32", "float16"}:
            assert engine.parity.sizes == ("64x48", "37x29")
            assert engine.parity.within_one >= 0.999
    assert not [path for path in bundle.path("").iterdir() if path.name.startswith(".")]


def test_half_precision_uses_the_bundles_weights_as_they_are(bundle: Bundle) -> None:
    """No weight of the float16 graph is cast, and sizes are free from one pixel on."""
    graph = onnx.load(bundle.path("generator.fp16.onnx"), load_external_data=False).graph
    weights = {t.name for t in graph.initializer if t.external_data}
    assert len(weights) > 20
    assert not [n for n in graph.node if n.op_type == "Cast" and n.input[0] in weights]
    made = OnnxGraph(bundle.path("generator.fp16.onnx")).run(random_scenes(bundle, 1, 1, 3, 0))
    assert made.shape == (1, 1, 3, 3)


def test_processor_forms_replace_slow_layers(bundle: Bundle) -> None:
    """The float32 graph has plain convolutions only, that for GPUs is left as it is."""
    kinds = {
        file: Counter(node.op_type for node in onnx.load(bundle.path(file)).graph.node)
        for file in ("generator.onnx", "generator.openvino.onnx", "generator.fp16.onnx")
    }
    # Two up-sampling steps and the image.
    assert [kinds[file]["ConvTranspose"] for file in kinds] == [0, 0, 2]
    assert [kinds[file]["DepthToSpace"] for file in kinds] == [1, 3, 0]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_openvino_runs_every_size_and_batch(bundle: Bundle, precision: Precision) -> None:
    """Sizes are compiled for one by one, and maps of any size find theirs."""
    graph = OpenVinoGraph(
        bundle.path(bundle.engine("openvino", precision).file),
        precision,
        (bundle.generator.size_multiple, bundle.generator.minimum_side),
        threads=1,
    )
    network = Synthesis(bundle.input, load_generator(bundle)).eval()
    for shape in ((1, 20, 24), (3, 18, 24), (1, 17, 21), (1, 1, 1)):
        feeds = random_scenes(bundle, *shape, seed=1)
        with torch.inference_mode():
            wanted = network(**{n: torch.from_numpy(a) for n, a in feeds.items()}).numpy()
        made = graph.run(feeds)
        assert made.dtype == np.uint8
        assert made.shape == (*shape, 3)
        assert np.abs(made.astype(int) - wanted).mean() < (0.01 if precision == "float32" else 3)


def test_encoder_runs_without_torch_on_any_size(bundle: Bundle) -> None:
    """It gives torch's features before they are averaged."""
    assert bundle.encoder_engine is not None
    graph = OnnxGraph(bundle.path(bundle.encoder_engine.file))
    encoding = Encoding(load_encoder(bundle)).eval()
    for feeds in random_photos([(33, 21), (3, 2)], 2):
        with torch.inference_mode():
            wanted = encoding(torch.from_numpy(feeds["photo"])).numpy()
        made = graph.run(feeds)
        assert made.shape == wanted.shape
        assert np.abs(made - wanted).max() < 1e-4


def test_int8_needs_maps(tmp_path: Path) -> None:
    """Classes that cannot be drawn need a folder of maps, and the message says so."""
    classes = tuple(f"class {n}" for n in range(3))
    folder = tmp_path / "foreign"
    write_mild_bundle(folder, classes)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(NoScenesError, match="--calibration"):
        add_engines(folder, ("int8",), ((32, 32),))
    assert sorted(path.name for path in folder.iterdir()) == before
    with pytest.raises(NoScenesError, match="at least two maps"):
        real_scenes(load_bundle(folder), tmp_path)


def test_calibration_folder_is_split(bundle: Bundle, tmp_path: Path) -> None:
    """Maps that judge the result were not calibrated on."""
    assert len(list(write_scenes(tmp_path, 8, 80, 64, 1))) == 8
    calibrating, held_out = real_scenes(bundle, tmp_path)
    assert (len(calibrating), len(held_out)) == (4, 4)
    assert {feeds["label"].shape for feeds in calibrating} == {(1, 64, 80)}
    assert not [c for c in calibrating for h in held_out if np.array_equal(c["label"], h["label"])]
    assert all(feeds["instance"].max() > 1000 for feeds in held_out)


def test_what_is_not_good_enough_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a wish the export goes on without it, says so, and keeps no trace of it."""
    folder = tmp_path / "mild"
    write_mild_bundle(folder)
    monkeypatch.setitem(export.parity.TOLERANCES, "float16", Tolerance(within_one=1.1))
    monkeypatch.setitem(export.parity.TOLERANCES, "int8", Tolerance(mean=-1.0))
    told: list[str] = []
    made = add_engines(folder, None, ((32, 32),), tell=told.append)
    assert {engine.precision for engine in made.engines} <= {"float32", "bfloat16"}
    assert {path.name for path in folder.glob("*.onnx")} == {
        "generator.onnx", "generator.openvino.onnx", "encoder.onnx",
    }  # fmt: skip
    left_out = {line.split()[2] for line in told if line.startswith("left out")}
    assert left_out == {"generator.fp16.onnx", "generator.int8.onnx"}


@pytest.mark.parametrize(
    ("precision", "difference", "message"),
    [
        ("float32", [0] * 997 + [2] * 3, "only 99.70 % of the values agree"),
        ("int8", [2] * 1000, "mean difference is 2.00 grey levels, 1.7 may"),
        ("int8", [0] * 990 + [20] * 10, "in a thousand differs by 20 grey levels or more, 13 may"),
    ],
)
def test_every_precision_has_its_tolerance(
    precision: Precision, difference: list[int], message: str
) -> None:
    """What is wrong is told in grey levels."""
    parity = summarise(np.array(difference, np.int16), 1, ("8x8",))
    with pytest.raises(ParityError, match=re.escape(message)):
        check_parity(parity, "engine", precision)
    check_parity(summarise(np.ones(1000, np.int16), 1, ("8x8",)), "engine", precision)


def test_features_are_compared_in_grey_levels() -> None:
    """A difference of 2 in [-1, 1] is the whole range of grey levels."""
    photo = np.zeros((1, 4, 4, 3), np.uint8)
    sample = Sample({"photo": photo}, np.full((1, 3, 4, 4), -1, np.float32))
    assert compare([sample], lambda _: np.ones((1, 3, 4, 4), np.float32)).maximum == 255
