"""Reference checkpoints: the same numbers as the published implementation."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.codec import network_input
from model.encoder import Encoder
from model.generator import build_generator
from model.reference import (
    ReferenceCheckpointError,
    infer_spec,
    load_reference_checkpoint,
    read_state_dict,
)
from model.spec import DiscriminatorSpec, EncoderSpec, GeneratorSpec, InputSpec

PARITY = Path(__file__).parent.parent / "parity"
TOLERANCE = 1e-4


def case(name: str) -> tuple[torch.nn.Module, dict[str, np.ndarray], Tensor]:
    """Network, recorded arrays and the codec's input (1, C, H, W) of one recorded case."""
    recorded = dict(np.load(PARITY / f"{name}.npz"))
    labels = json.loads((PARITY / f"{name}.json").read_text())["num_labels"]
    maps = network_input(InputSpec(labels), recorded["label"], recorded["instance"])
    return (
        load_reference_checkpoint(PARITY / f"{name}.pth"),
        recorded,
        torch.from_numpy(maps)[None],
    )


@pytest.mark.parametrize("name", ["global", "local", "local_features"])
def test_generators_match_the_recorded_output(name: str) -> None:
    """Global and local generators, with and without styles, give the recorded pixels."""
    network, recorded, x = case(name)
    if "feature_map" in recorded:
        x = torch.cat([x, torch.from_numpy(recorded["feature_map"])[None]], dim=1)
    with torch.inference_mode():
        out = network(x)[0].numpy()
    np.testing.assert_allclose(out, recorded["output"], rtol=0, atol=TOLERANCE)


def test_encoder_matches_the_recorded_output() -> None:
    """The encoder pools per instance as the reference does."""
    network, recorded, _ = case("encoder")
    image = torch.from_numpy(recorded["image"])[None]
    instance = torch.from_numpy(recorded["instance"])[None, None]
    with torch.inference_mode():
        out = network(image, instance)[0].numpy()
    np.testing.assert_allclose(out, recorded["output"], rtol=0, atol=TOLERANCE)


def test_discriminator_matches_every_recorded_feature() -> None:
    """All features of all scales agree, the finest scale first."""
    network, recorded, x = case("discriminator")
    image = torch.from_numpy(recorded["image"])[None]
    with torch.inference_mode():
        scales = network(torch.cat([x, image], dim=1))
    for i, features in enumerate(scales):
        for j, feature in enumerate(features):
            wanted = recorded[f"scale{i}_feature{j}"]
            np.testing.assert_allclose(feature[0].numpy(), wanted, rtol=0, atol=TOLERANCE)
    assert len([k for k in recorded if k.startswith("scale")]) == sum(map(len, scales))


@pytest.mark.parametrize(
    ("name", "field_names"),
    [
        ("global", {"ngf": "width", "down": "downsamplings", "blocks": "blocks"}),
        ("local", {"ngf": "width", "down": "downsamplings", "enh": "enhancers",
                   "lblocks": "enhancer_blocks", "blocks": "blocks"}),
        ("encoder", {"nef": "width", "down": "downsamplings", "feat_num": "output_channels"}),
        ("discriminator", {"ndf": "width", "layers": "layers", "numD": "scales"}),
    ],
)  # fmt: skip
def test_configuration_is_inferred(name: str, field_names: dict[str, str]) -> None:
    """Widths and depths come out of the weights as the reference configured them."""
    config = json.loads((PARITY / f"{name}.json").read_text())
    spec = infer_spec(read_state_dict(PARITY / f"{name}.pth"))
    assert {key: getattr(spec, field) for key, field in field_names.items()} == {
        key: config[key] for key in field_names
    }


@pytest.mark.parametrize(
    ("spec", "tensors", "parameters"),
    [
        (GeneratorSpec("global", 36), 56, 182_546_755),
        (GeneratorSpec("local", 36, width=32, enhancers=1, enhancer_blocks=3), 74, 182_857_059),
        (GeneratorSpec("local", 36, width=16, enhancers=2, enhancer_blocks=3), 92, 182_947_699),
    ],
)
def test_published_sizes(spec: GeneratorSpec, tensors: int, parameters: int) -> None:
    """Tensor and parameter counts are those of the published networks."""
    with torch.device("meta"):
        state = build_generator(spec).state_dict()
    assert (len(state), sum(t.numel() for t in state.values())) == (tensors, parameters)
    assert infer_spec(state) == spec


def test_published_encoder_and_discriminator_sizes() -> None:
    """Encoder and discriminator have the published parameter counts."""
    from model.discriminator import MultiscaleDiscriminator

    with torch.device("meta"):
        encoder = Encoder(EncoderSpec()).state_dict()
        judge = MultiscaleDiscriminator(DiscriminatorSpec(39, scales=3)).state_dict()
    assert sum(t.numel() for t in encoder.values()) == 788_803
    assert sum(t.numel() for t in judge.values()) == 8_404_803


def test_two_enhancers_run_and_round_trip(tmp_path: Path) -> None:
    """A generator with two enhancers is recognised, loads strictly and keeps the size."""
    spec = GeneratorSpec(
        "local", 5, width=2, downsamplings=1, blocks=1, enhancers=2, enhancer_blocks=1
    )
    torch.save(build_generator(spec).state_dict(), tmp_path / "g.pth")
    network = load_reference_checkpoint(tmp_path / "g.pth")
    with torch.inference_mode():
        assert network(torch.zeros(2, 5, 32, 48)).shape == (2, 3, 32, 48)
    assert network.spec == spec


@pytest.mark.parametrize("kind", ["global", "local"])
def test_batch_norm_is_recognised(tmp_path: Path, kind: str) -> None:
    """Checkpoints with affine batch norm load with their statistics."""
    enhancers = int(kind == "local")
    spec = GeneratorSpec(
        kind, 4, width=2, downsamplings=1, blocks=1, enhancers=enhancers,  # type: ignore[arg-type]
        enhancer_blocks=enhancers, norm="batch",
    )  # fmt: skip
    source = build_generator(spec)
    source(torch.randn(2, 4, 16, 16))  # moves the running statistics
    torch.save(source.state_dict(), tmp_path / "g.pth")
    loaded = load_reference_checkpoint(tmp_path / "g.pth")
    x = torch.randn(1, 4, 16, 16)
    assert loaded.spec == spec
    assert not loaded.training
    torch.testing.assert_close(loaded(x), source.eval()(x))


def test_files_from_before_torch_0_4(tmp_path: Path) -> None:
    """Unused statistics that old instance norms saved are dropped; other extras are not."""
    state = dict(read_state_dict(PARITY / "global.pth"))
    state["model.2.running_mean"] = torch.zeros(4)
    state["model.2.running_var"] = torch.ones(4)
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    x = torch.randn(1, 12, 64, 64)
    with torch.inference_mode():
        old = load_reference_checkpoint(tmp_path / "old.pth")(x)
        new = load_reference_checkpoint(PARITY / "global.pth")(x)
    assert torch.equal(old, new)


def test_encoder_without_final_padding_module(tmp_path: Path) -> None:
    """Early encoders whose last convolution comes one position sooner are accepted."""
    encoder = Encoder(EncoderSpec(width=2, downsamplings=1, reflect_output=False))
    torch.save(encoder.state_dict(), tmp_path / "e.pth")
    assert load_reference_checkpoint(tmp_path / "e.pth").spec == encoder.spec


def test_discriminator_without_feature_lists(tmp_path: Path) -> None:
    """The variant trained without feature matching gives the same logits."""
    state = read_state_dict(PARITY / "discriminator.pth")
    starts = (0, 2, 5, 8, 11)
    renamed = {}
    for key, value in state.items():
        stage, _, rest = key.partition(".")
        scale, layer = stage.removeprefix("scale").split("_layer")
        inner, _, name = rest.partition(".")
        renamed[f"layer{scale}.{starts[int(layer)] + int(inner)}.{name}"] = value
    torch.save(renamed, tmp_path / "d.pth")
    flat, full = (
        load_reference_checkpoint(p) for p in (tmp_path / "d.pth", PARITY / "discriminator.pth")
    )
    x = torch.randn(1, 15, 32, 32)
    with torch.inference_mode():
        for short, long in zip(flat(x), full(x), strict=True):
            assert len(short) == 1
            assert torch.equal(short[0], long[-1])


@pytest.mark.parametrize("damage", ["missing", "extra", "shape"])
def test_loading_is_strict(tmp_path: Path, damage: str) -> None:
    """A missing, surplus or misshapen tensor is an error that names it."""
    state = dict(read_state_dict(PARITY / "local.pth"))
    if damage == "missing":
        del state["model1_1.4.bias"]
    elif damage == "extra":
        state["model1_1.4.gamma"] = torch.zeros(1)
    else:
        state["model1_1.4.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "g.pth")
    with pytest.raises(ReferenceCheckpointError, match=r"g\.pth.*model1_1\.4\.(bias|gamma)"):
        load_reference_checkpoint(tmp_path / "g.pth")


class _Bomb:
    """Pickles as a call that creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.target,)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    """A file that would execute code on unpickling is refused and does not."""
    torch.save({"model.1.weight": _Bomb(tmp_path / "ran")}, tmp_path / "bad.pth")
    with pytest.raises(ReferenceCheckpointError, match=r"bad\.pth"):
        load_reference_checkpoint(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    """Text, foreign archives, foreign state dicts and absent files give clear errors."""
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("hello", "world")
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("text", "zip", "other", "list"):
        with pytest.raises(ReferenceCheckpointError, match=rf"{name}\.pth"):
            load_reference_checkpoint(tmp_path / f"{name}.pth")
    with pytest.raises(FileNotFoundError):
        load_reference_checkpoint(tmp_path / "absent.pth")
