"""TensorRT engines: built for GPUs that are not here, kept in the cache, errors that say why."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorrt_rtx
from onnx import TensorProto, helper

from export.build_progress import PhaseBar
from export.random_bundle import write_random_weights
from export.to_onnx import export_generator
from export.to_tensorrt import EngineBuildError, build_engine, ensure_engine
from model.bundle import Bundle, BundleError, load_bundle
from model.bundled import bundled_model_path
from model.engine_files import find
from model.engine_key import EngineRejectedError, Rejection, batch_profiles, engine_key
from model.generator import build_generator
from model.gpu import NoGpuError, compute_capability
from model.spec import GeneratorSpec, InputSpec
from model.tensorrt_module import load_tensorrt

ARCHITECTURES = ("8.6", "8.9", "12.0")


def without_gpu() -> bool:
    """Say whether this machine lacks a GPU, by CUDA's own account."""
    try:
        compute_capability()
    except NoGpuError:
        return True
    return False


def half_precision(bundle: Bundle) -> Path:
    """Add the graph that TensorRT starts from, without the time that comparing it takes."""
    path = bundle.path("generator.fp16.onnx")
    export_generator(bundle, path, "float16")
    return path


def is_engine_for(engine: bytes | memoryview, weights: int) -> bool:
    """Whether a built engine holds at least its weights in half precision."""
    return len(engine) > 2 * weights


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bundled_model_builds_without_a_gpu(architecture: str, tmp_path: Path) -> None:
    """The model that ships with hdsynth becomes an engine for each supported architecture."""
    bundle = load_bundle(bundled_model_path())
    profiles = batch_profiles([(512, 256), (1024, 512)], [1, 4])
    stored = ensure_engine(
        bundle, profiles, flavour="tensorrt_rtx", cache=tmp_path, capability=architecture
    )
    assert stored.key.compute_capability == architecture
    assert stored.key.profiles == profiles
    assert is_engine_for(stored.path.read_bytes(), 7_800_000)


@pytest.mark.parametrize(
    ("spec", "network"),
    [
        (InputSpec(35), {"kind": "local", "blocks": 1, "enhancers": 1, "enhancer_blocks": 3}),
        (InputSpec(35), {"kind": "unet", "blocks": 0}),
        (InputSpec(35), {"kind": "cascade", "blocks": 0}),
        (InputSpec(0, edges=False), {"kind": "global", "blocks": 1}),
    ],
    ids=["local", "unet", "cascade", "from photographs"],
)
def test_every_kind_of_generator_builds_without_a_gpu(
    spec: InputSpec, network: dict[str, Any], tmp_path: Path
) -> None:
    """TensorRT reads the layers of all of them, and inputs that are not label maps."""
    generator = GeneratorSpec(input_channels=spec.channels, width=4, downsamplings=2, **network)
    bundle = write_random_weights(tmp_path / "bundle", "any", spec, generator, (256, 128))
    profiles = batch_profiles([(256, 128), (67, 31)], [1, 4])
    engine = build_engine(tensorrt_rtx, half_precision(bundle), profiles, "8.9")
    assert is_engine_for(engine, sum(p.numel() for p in build_generator(generator).parameters()))


@pytest.mark.parametrize("name", ["tiny_bundle", "plain_bundle"])
def test_engine_is_built_once(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The second call takes the engine from the cache; asking for a rebuild replaces it."""
    bundle = load_bundle(request.getfixturevalue(name))
    profiles = batch_profiles([(64, 32)], [1, 2])

    def ensure(**options: bool) -> Path:
        stored = ensure_engine(
            bundle, profiles, flavour="tensorrt_rtx", cache=tmp_path, capability="8.9", **options
        )
        return stored.path

    path = ensure()
    first = path.stat()
    assert (ensure(), path.stat().st_ino) == (path, first.st_ino)
    assert ensure(rebuild=True) == path
    assert path.stat().st_ino != first.st_ino


def test_changed_weights_make_the_engine_foreign(tiny_bundle: Path, tmp_path: Path) -> None:
    """An engine of the same graph with other weights is refused, and built anew on demand."""
    before, after = load_bundle(tiny_bundle), retrained(tiny_bundle, tmp_path / "bundle")
    profiles = batch_profiles([(64, 32)], [1])
    cache = tmp_path / "cache"
    old = ensure_engine(before, profiles, flavour="tensorrt_rtx", cache=cache, capability="8.9")
    wanted = engine_key(after, "tensorrt_rtx", tensorrt_rtx.__version__, "8.9", profiles)
    with pytest.raises(EngineRejectedError) as caught:
        find(cache, wanted)
    assert caught.value.reason is Rejection.CHANGED_GRAPH
    new = ensure_engine(after, profiles, flavour="tensorrt_rtx", cache=cache, capability="8.9")
    assert find(cache, wanted).path == new.path != old.path
    assert find(cache, old.key).path == old.path


def retrained(source: Path, folder: Path) -> Bundle:
    """Copy a bundle and change its weights, but nothing else."""
    shutil.copytree(source, folder)
    weights = folder / "generator.safetensors"
    content = bytearray(weights.read_bytes())
    content[-2:] = np.float16(0.125).tobytes()
    weights.write_bytes(content)
    # The description still holds the old hash, so the loaded bundle is moved, not read again.
    return dataclasses.replace(load_bundle(source), folder=folder)


def test_damaged_engine_is_built_again_only_when_asked(tiny_bundle: Path, tmp_path: Path) -> None:
    """Searching refuses a damaged file; the build step replaces it."""
    bundle, profiles = load_bundle(tiny_bundle), batch_profiles([(64, 32)], [1])
    stored = ensure_engine(
        bundle, profiles, flavour="tensorrt_rtx", cache=tmp_path, capability="8.9"
    )
    stored.path.write_bytes(stored.path.read_bytes()[:-1])
    with pytest.raises(EngineRejectedError, match="damaged"):
        find(tmp_path, stored.key)
    again = ensure_engine(
        bundle, profiles, flavour="tensorrt_rtx", cache=tmp_path, capability="8.9"
    )
    assert find(tmp_path, stored.key) == again


def test_unsupported_operator_is_named(tmp_path: Path) -> None:
    """A graph that TensorRT cannot read fails with the node, its operator and the file."""
    node = helper.make_node("Det", ["x"], ["y"], name="determinant")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
    )
    path = tmp_path / "det.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    with pytest.raises(EngineBuildError, match=r"det\.onnx.*node 'determinant' \(Det\)"):
        build_engine(tensorrt_rtx, path, (), "8.9")


def test_a_file_that_is_no_graph_is_named(tmp_path: Path) -> None:
    """Damaged input is an error with the file's name, not a crash."""
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(EngineBuildError, match=r"broken\.onnx"):
        build_engine(tensorrt_rtx, path, (), "8.9")


def test_builders_messages_reach_our_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What TensorRT complains about can be read in the log, with its severity."""
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(EngineBuildError):
        build_engine(tensorrt_rtx, path, (), "8.9")
    ours = [r for r in caplog.records if r.name == "model.tensorrt_module"]
    assert ours
    assert {r.levelno for r in ours} == {logging.ERROR}
    assert ours[0].getMessage().startswith("tensorrt_rtx: ")


def test_architecture_that_cannot_be_built_for_is_refused(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    """H100s need TensorRT; the message lists what TensorRT-RTX builds for."""
    with pytest.raises(ValueError, match=r"compute capability 9\.0; it can for .*8\.6, 8\.9"):
        ensure_engine(
            load_bundle(tiny_bundle),
            batch_profiles([(64, 32)], [1]),
            flavour="tensorrt_rtx",
            cache=tmp_path,
            capability="9.0",
        )


@pytest.mark.skipif(not without_gpu(), reason="this machine has a GPU")
def test_building_for_this_gpu_needs_one(tiny_bundle: Path, tmp_path: Path) -> None:
    """Without a GPU and without a named architecture the missing GPU is the error."""
    with pytest.raises(NoGpuError, match="no CUDA device"):
        ensure_engine(
            load_bundle(tiny_bundle),
            batch_profiles([(64, 32)], [1]),
            flavour="tensorrt_rtx",
            cache=tmp_path,
        )


def test_any_size_can_be_built_for(tiny_bundle: Path, tmp_path: Path) -> None:
    """Sizes that the generator pads are as good as others: padding is inside the engine."""
    stored = ensure_engine(
        load_bundle(tiny_bundle),
        batch_profiles([(67, 31), (1, 5)], [2]),
        flavour="tensorrt_rtx",
        cache=tmp_path,
        capability="12.0",
    )
    assert is_engine_for(stored.path.read_bytes(), 0)


def test_bundle_without_half_precision_graph_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    """The message says which command adds the graph."""
    bundle = dataclasses.replace(load_bundle(tiny_bundle), engines=())
    with pytest.raises(BundleError, match=r"no float16 onnx engine .* 'hdsynth export "):
        ensure_engine(
            bundle,
            batch_profiles([(64, 32)], [1]),
            flavour="tensorrt_rtx",
            cache=tmp_path,
            capability="8.9",
        )


def test_absent_tensorrt_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lacks the package learns what to install."""
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(ImportError, match=r"pip install 'hdsynth\[tensorrt\]'"):
        load_tensorrt("tensorrt")
    with pytest.raises(ValueError, match="choose from tensorrt, tensorrt_rtx"):
        load_tensorrt("tensorflow")


def test_progress_follows_nested_phases(capsys: pytest.CaptureFixture[str]) -> None:
    """Phases may nest and end in any order; nothing is drawn where nobody watches."""
    bar = PhaseBar("engine")
    bar.start("outer", 2)
    bar.start("inner", 5)
    bar.step("inner")
    bar.step("outer")
    bar.finish("inner")
    bar.finish("outer")
    bar.start("outer again", 1)
    bar.finish("outer again")
    assert capsys.readouterr().err == ""
