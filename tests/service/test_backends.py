"""Choosing and running engines."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from export.parity import random_scenes
from model.bundle import Bundle, BundleError, load_bundle
from model.bundled import bundled_model_path
from model.scenes import draw_scene
from service.backends import EngineInput, choice, load_engine
from service.synthesizer import Synthesizer


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The bundled model, which has every engine."""
    return load_bundle(bundled_model_path())


def photo(bundle: Bundle, backend: str) -> NDArray[np.uint8]:
    """What a backend makes of a drawn scene whose size is not legal."""
    engine = load_engine(bundle, backend, threads=1)
    drawn = draw_scene(75, 66, 3)
    synthesizer = Synthesizer(bundle, engine)
    (made,) = synthesizer.run([synthesizer.prepare(drawn.label, drawn.instance)])
    engine.close()
    return made


@pytest.fixture(scope="module")
def wanted(bundle: Bundle) -> NDArray[np.uint8]:
    """What torch makes of it."""
    return photo(bundle, "torch")


@pytest.mark.parametrize(
    ("backend", "mean"),
    [
        ("onnx", 0.01),
        ("onnx:int8", 3),
        ("openvino", 0.01),
        ("openvino:bfloat16", 1),
        ("openvino:int8", 3),
    ],
)
def test_every_engine_makes_torchs_photograph(
    bundle: Bundle, wanted: NDArray[np.uint8], backend: str, mean: float
) -> None:
    """At a size that must be padded, to the tolerance of the precision."""
    made = photo(bundle, backend)
    assert made.dtype == np.uint8
    assert made.shape == wanted.shape
    assert np.abs(made.astype(int) - wanted).mean() < mean


@pytest.mark.parametrize(
    ("backend", "name"),
    [("onnx:int8", "onnx CPU int8"), ("openvino", "openvino CPU float32")],
)
def test_names_tell_backend_device_and_precision(bundle: Bundle, backend: str, name: str) -> None:
    """As shown in logs and on the service's pages."""
    engine = load_engine(bundle, backend, threads=1)
    assert engine.name == name
    engine.close()


def test_auto_takes_the_fastest_that_was_verified_and_says_why(
    bundle: Bundle, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO's int8 where the processor has instructions for it, else ONNX Runtime's float32."""
    caplog.set_level(logging.INFO)
    for has_instructions, backend, precision in (
        (True, "openvino", "int8"),
        (False, "onnx", "float32"),
    ):
        monkeypatch.setattr(choice, "has_integer_instructions", lambda has=has_instructions: has)
        engine = load_engine(bundle, "auto", threads=1)
        assert engine.name == f"{backend} CPU {precision}"
        engine.close()
        assert f"backend {backend}:{precision}: the fastest" in caplog.text
    assert "no NVIDIA GPU" in caplog.text
    assert "no 8-bit dot products" in caplog.text


def test_auto_passes_over_what_has_no_record(
    bundle: Bundle, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that nobody compared with torch is not chosen; without any there is none."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(choice, "has_integer_instructions", lambda: True)
    only = tuple(e for e in bundle.engines if (e.backend, e.precision) == ("onnx", "float32"))
    engine = load_engine(dataclasses.replace(bundle, engines=only), "auto", threads=1)
    assert engine.name == "onnx CPU float32"
    assert "openvino:int8 (not in the bundle)" in caplog.text
    engine.close()
    with pytest.raises(BundleError, match="hdsynth export"):
        load_engine(dataclasses.replace(bundle, engines=()), "auto")


def test_runnable_names_can_be_loaded(bundle: Bundle) -> None:
    """They are what load_engine takes, the fastest first."""
    names = choice.runnable(bundle)
    assert names[-2:] == ["onnx:float32", "openvino:float32"]
    for name in names:
        load_engine(bundle, name, threads=1).close()


@pytest.mark.parametrize(
    ("backend", "error", "message"),
    [
        ("onnxx", ValueError, "onnxx.*choose from auto, openvino"),
        ("onnx:fp16", ValueError, "precision 'fp16' is unknown"),
        ("onnx:bfloat16", BundleError, "no bfloat16 onnx engine"),
    ],
)
def test_wrong_names_are_explained(
    bundle: Bundle, backend: str, error: type[Exception], message: str
) -> None:
    """What is unknown or missing is named, with what there is."""
    with pytest.raises(error, match=message):
        load_engine(bundle, backend)


def test_cuda_is_never_replaced_in_silence(bundle: Bundle) -> None:
    """Where ONNX Runtime cannot have a GPU, it says so instead of using the processor."""
    if Path("/dev/nvidiactl").exists():
        pytest.skip("has an NVIDIA GPU")
    with pytest.raises(RuntimeError, match="CUDA"):
        load_engine(bundle, "onnx-cuda")


def test_batches_and_sizes_may_change_from_run_to_run(plain_bundle: Path) -> None:
    """More sizes than OpenVINO keeps compiled graphs for all come out right."""
    bundle = load_bundle(plain_bundle)
    fast, exact = (load_engine(bundle, name, threads=1) for name in ("openvino", "torch"))
    for count, height, width in [(n, 8, 8 * k) for n in (1, 2) for k in range(1, 6)] * 2:
        feeds = random_scenes(bundle, count, height + 16, width + 13, seed=width)
        batch = EngineInput(**feeds)  # type: ignore[arg-type]
        apart = np.abs(fast.run(batch).astype(int) - exact.run(batch))
        assert (apart <= 1).mean() > 0.999


def test_serving_loads_no_torch(bundle: Bundle) -> None:
    """Not even when the engine is chosen and run."""
    script = (
        "import sys; from model.bundle import load_bundle; "
        "from service.backends import load_engine; from service.synthesizer import Synthesizer; "
        "bundle = load_bundle(sys.argv[1])\n"
        "for name in ('auto', 'onnx'):\n"
        "    Synthesizer(bundle, load_engine(bundle, name, 1)).warm_up(20, 30)\n"
        "print(sorted({'torch', 'onnx', 'safetensors'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(bundle.folder)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert run.stdout.strip() == "[]"
