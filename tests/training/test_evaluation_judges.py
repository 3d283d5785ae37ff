"""Judges of three kinds, each found by what names it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.onnx_segmenter import IMAGENET_DEVIATION, IMAGENET_MEAN, OnnxSegmenter
from training.evaluation.judges import HuggingFaceSegmenter, open_judge
from training.evaluation.lpips import AlexNet
from training.evaluation.segmenter import Segmenter, SegmenterConfig, _write, load_segmenter
from training.evaluation.segmenter_onnx import export_segmenter

NAMES = ("unlabeled", "balcony-fence", "Window", "tree")


def photos(height: int, width: int) -> np.ndarray:
    """Draw two smooth photographs (2, height, width, 3)."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    size = (width, height)
    return np.stack([np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BICUBIC))
                     for p in small])  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmenter's file, with random weights."""
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("judge") / "judge.safetensors"
    network = Segmenter(NAMES, 8, AlexNet())
    torch.nn.init.normal_(network.head.weight, std=5.0)  # so that every class is found
    _write(out, network, SegmenterConfig("data", width=8))
    return out


@pytest.fixture(scope="module")
def exported(trained: Path) -> OnnxSegmenter:
    """The same as ONNX."""
    return export_segmenter(trained, trained.with_suffix(".onnx"), size=64, void=(0,))


@pytest.fixture(scope="module")
def segformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SegFormer with random weights, in a folder."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("segformer")
    config = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16],
        patch_sizes=[7, 3], strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2],
        decoder_hidden_size=16, id2label={0: "wall", 1: "window", 2: "balcony fence"},
        label2id={"wall": 0, "window": 1, "balcony fence": 2},
    )  # fmt: skip
    torch.manual_seed(0)
    with contextlib.redirect_stderr(io.StringIO()):
        transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
        size = {"height": 64, "width": 64}
        transformers.SegformerImageProcessorPil(size=size).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("height", "width"), [(16, 16), (37, 53), (96, 64)])
def test_onnx_finds_what_torch_finds(
    trained: Path, exported: OnnxSegmenter, height: int, width: int
) -> None:
    """Whatever the size, nearly every pixel gets the class that torch gives it."""
    given = photos(height, width)
    image = torch.from_numpy(given).permute(0, 3, 1, 2) / 127.5 - 1
    expected = load_segmenter(trained).predict(image).numpy()
    assert len(np.unique(expected)) > 1
    assert (exported.segment(given) == expected).mean() > 0.999


def test_exported_files_describe_themselves(trained: Path, exported: OnnxSegmenter) -> None:
    """Classes, void classes and size come from the file alone."""
    read = OnnxSegmenter(trained.with_suffix(".onnx"))
    assert (read.classes, read.void, read.size) == (NAMES, (0,), 64)


def test_unknown_void_classes_are_not_exported(trained: Path, tmp_path: Path) -> None:
    """A void class that does not exist raises an error."""
    with pytest.raises(ValueError, match=r"void class 4 does not exist; classes are 0\.\.3"):
        export_segmenter(trained, tmp_path / "judge.onnx", void=(4,))


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_judges_of_the_same_classes_know_them_all(
    trained: Path, exported: OnnxSegmenter, suffix: str
) -> None:
    """Both files of one segmenter judge alike."""
    judge = open_judge(trained.with_suffix(suffix), NAMES)
    assert judge.unknown == ()
    given = photos(48, 64)
    assert (judge.predict(given) == exported.segment(given)).mean() > 0.999


def test_hugging_face_models_are_matched_by_name(segformer: Path) -> None:
    """Case and punctuation aside; other classes are none of the data set's."""
    judge = open_judge(str(segformer), NAMES)
    assert judge.unknown == (0, 3)
    assert judge.table[:3].tolist() == [255, 2, 1]
    found = judge.predict(photos(50, 70))
    assert found.shape == (2, 50, 70)
    assert set(np.unique(found)) <= {255, 1, 2}


def test_hugging_face_models_see_what_transformers_shows_them(segformer: Path) -> None:
    """The classes are those of the model's own processing, enlarged to the photographs."""
    transformers = pytest.importorskip("transformers")
    network = transformers.SegformerForSemanticSegmentation.from_pretrained(segformer)
    given = photos(64, 64)  # the model's own size: nothing is resized on the way in
    scaled = (given / 255 - IMAGENET_MEAN) / IMAGENET_DEVIATION
    pixels = torch.from_numpy(scaled).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        logits = network(pixel_values=pixels).logits
    scores = torch.nn.functional.interpolate(logits, size=(64, 64), mode="bilinear")
    expected = scores.argmax(1).numpy()
    found = HuggingFaceSegmenter(str(segformer)).segment(given)
    assert (found == expected).mean() > 0.999


def test_foreign_onnx_files_are_read_by_convention(tmp_path: Path) -> None:
    """Floats in ImageNet's normalisation in, scores of a smaller size out."""
    path = tmp_path / "foreign.onnx"
    write_redness(path)
    dark_and_red = np.zeros((1, 32, 48, 3), np.uint8)
    dark_and_red[:, :, 24:, 0] = 255
    judge = open_judge(path, ("dark", "red"))
    found = judge.predict(dark_and_red)
    assert found.shape == (1, 32, 48)
    assert found[0, :, :20].max() == 0
    assert found[0, :, 28:].min() == 1


def test_classes_of_another_world_are_refused(segformer: Path) -> None:
    """A model that knows none of the classes cannot judge."""
    with pytest.raises(ValueError, match=r"knows none .* \(cat, dog\); it knows wall, window"):
        open_judge(str(segformer), ("cat", "dog"))


def test_what_is_no_segmenter_is_refused(tmp_path: Path) -> None:
    """A folder without a model is named, and what it could have been."""
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match=r"no \.safetensors or \.onnx file, and no semantic"):
        open_judge(str(tmp_path), NAMES)


def write_redness(path: Path) -> None:
    """Write a graph whose scores are 0 and the red channel at half the size."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("AveragePool", ["x"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Gather", ["half", "channel"], ["red"], axis=1),
        helper.make_node("Sub", ["red", "red"], ["zero"]),
        helper.make_node("Concat", ["zero", "red"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "redness",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2, "a", "b"])],
        [helper.make_tensor("channel", TensorProto.INT64, [1], [0])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)
