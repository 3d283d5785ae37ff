"""The ONNX engine: integers in, pixels out, equal to torch, at any size and batch."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

import export.build
from export.build import add_engines
from export.parity import Feeds, ParityError, check_parity, random_scenes, summarise
from export.to_onnx import export_generator
from model.bundle import Bundle, Precision, load_bundle
from model.checkpoint import load_generator
from model.synthesis import Synthesis


def session(bundle: Bundle) -> onnxruntime.InferenceSession:
    """The bundle's graph in ONNX Runtime."""
    path = bundle.path(bundle.engine("onnx").file)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def torch_pixels(bundle: Bundle, feeds: Feeds) -> NDArray[np.uint8]:
    """What torch makes of a batch."""
    with torch.inference_mode():
        network = Synthesis(bundle.input, load_generator(bundle)).eval()
        tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
        return np.asarray(network(**tensors).numpy(), np.uint8)


@pytest.mark.parametrize("name", ["tiny_bundle", "plain_bundle"])
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 8, 60), (2, 37, 53), (2, 20, 5), (1, 3, 100)])
def test_engine_equals_torch(
    name: str, shape: tuple[int, int, int], request: pytest.FixtureRequest
) -> None:
    """Batches and sizes that were not used for tracing give torch's pixels to one level."""
    bundle = load_bundle(request.getfixturevalue(name))
    feeds = random_scenes(bundle, *shape, seed=5)
    (image,) = session(bundle).run(["image"], feeds)
    wanted = torch_pixels(bundle, feeds)
    assert (image.dtype, image.shape) == (np.uint8, (*shape, 3))
    assert (np.abs(image.astype(int) - wanted) <= 1).mean() >= 0.999
    assert image.std() > 5


def test_one_scene_never_influences_another(tiny_bundle: Path) -> None:
    """A scene gives the same pixels alone and in a batch."""
    bundle = load_bundle(tiny_bundle)
    feeds = random_scenes(bundle, 3, 32, 32, seed=1)
    run = session(bundle).run
    together = run(["image"], feeds)[0]
    alone = run(["image"], {k: v[1:2] for k, v in feeds.items()})[0]
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1


def test_no_class_pixels_are_accepted(tiny_bundle: Path) -> None:
    """Label 255 is zero in every channel instead of an error inside the engine."""
    bundle = load_bundle(tiny_bundle)
    feeds = random_scenes(bundle, 1, 32, 32, seed=1)
    feeds["label"][:] = 255
    assert session(bundle).run(["image"], feeds)[0].shape == (1, 32, 32, 3)


def test_graph_takes_integers_and_points_to_the_weights(tiny_bundle: Path) -> None:
    """Inputs are the integer maps and styles; weights exist once, in the safetensors file."""
    model = onnx.load(tiny_bundle / "generator.onnx", load_external_data=False)
    kinds = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
    assert kinds == {
        "label": onnx.TensorProto.UINT8,
        "instance": onnx.TensorProto.INT32,
        "style_index": onnx.TensorProto.INT32,
        "style_table": onnx.TensorProto.FLOAT,
    }
    outside = [t for t in model.graph.initializer if t.external_data]
    assert {t.external_data[0].value for t in outside} == {"generator.safetensors"}
    inside = sum(len(t.raw_data) for t in model.graph.initializer)
    assert inside < 4096


def test_graph_tells_nothing_of_the_machine(tiny_bundle: Path) -> None:
    """No source paths of the exporting machine are left in the file."""
    text = (tiny_bundle / "generator.onnx").read_bytes()
    assert str(Path(export.build.__file__).parents[1]).encode() not in text
    assert b"site-packages" not in text


def test_a_wrong_engine_is_refused_and_leaves_the_bundle_as_it_was(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When pixels differ, the export fails, says by how much, and writes nothing."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def export_darker(bundle: Bundle, path: Path, precision: Precision, openvino: Path) -> None:
        export_generator(bundle, path, precision, openvino)
        graph = onnx.load(path, load_external_data=False)
        (grey,) = (node for node in graph.graph.node if is_half_of_255(node))
        grey.attribute[0].t.CopyFrom(onnx.numpy_helper.from_array(np.array(100, np.float32)))
        path.write_bytes(graph.SerializeToString())

    monkeypatch.setattr(export.build, "export_generator", export_darker)
    with pytest.raises(ParityError, match=r"generator\.onnx.*only .* % of the values agree"):
        add_engines(folder, precisions=("float32",), sizes=((32, 32),))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def is_half_of_255(node: onnx.NodeProto) -> bool:
    """Whether a node is the constant that scales [-1, 1] to grey levels."""
    if node.op_type != "Constant" or node.attribute[0].name != "value":
        return False
    value = onnx.numpy_helper.to_array(node.attribute[0].t)
    return value.shape == () and float(value) == 127.5


def test_parity_record_counts_grey_levels() -> None:
    """Maximum, mean, percentile and share within one level are what they say."""
    parity = summarise(np.array([0] * 997 + [1, 2, 9], np.int16), 4, ("8x8",))
    assert (parity.maximum, parity.mean, parity.within_one) == (9, 0.012, 0.998)
    with pytest.raises(ParityError):
        check_parity(parity, "engine")
    check_parity(dataclasses.replace(parity, within_one=0.999), "engine")
