"""pix2pix and CRN: each trained by its own objective, and as generators under ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from PIL import Image

from cli.main import cli
from export.build import add_engines
from model.discriminator import MultiscaleDiscriminator
from model.spec import DiscriminatorSpec
from training.config import TrainConfig
from training.crops import crop_rule
from training.data import PairDataset, open_folder, run_loader
from training.finish import write_bundle
from training.loop import train
from training.presets import CRN, PIX2PIX, PRESETS, resolve
from training.state import CHECKPOINT, TrainingState
from training.step import train_step

SMALL: dict[str, Any] = {
    "batch": 2, "crop": 64, "scale": (64, 64), "discriminator_width": 4, "workers": 0,
    "checkpoint_every": 4, "device": "cpu", "images": 2,
}  # fmt: skip
UNET: dict[str, Any] = {"generator": "unet", "width": 4, "downsamplings": 6, "norm": "batch"}
CASCADE: dict[str, Any] = {"generator": "cascade", "width": 16, "downsamplings": 4}


def config(folder: Path, *settings: Mapping[str, Any], **last: Any) -> TrainConfig:
    """Join settings, the last on top."""
    joined: dict[str, Any] = dict(SMALL)
    for some in (*settings, last):
        joined |= some
    return TrainConfig(str(folder), **joined)


def one_step(config: TrainConfig) -> tuple[dict[str, float], set[str]]:
    """Losses of one training step, and the networks whose weights it moved."""
    data = open_folder(Path(config.data))
    spec = data.input(config.styles, config.edges)
    state = TrainingState(config, spec, torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in state.tensors()}
    dataset = PairDataset(data, crop_rule(config), config.seed)
    batch = next(run_loader(dataset, 0, config.batch, config.batch, 0))
    losses = {name: loss.item() for name, loss in train_step(state, config, None, batch).items()}
    networks = ("trained.generator", "trained.encoder", "discriminator")
    moved = {
        network
        for network in networks
        for name, tensor in state.tensors()
        if name.startswith(network) and not torch.equal(tensor, before[name])
    }
    return losses, moved


def test_presets_are_the_published_recipes() -> None:
    """U-Net with cross-entropy and 100 times L1; cascade with a perceptual loss alone."""
    pix2pix, crn = (resolve("d", name, 1.0, {}) for name in ("pix2pix", "crn"))
    spec = pix2pix.generator_spec(36)
    assert (spec.kind, spec.width, spec.size_multiple, spec.norm) == ("unet", 64, 256, "batch")
    assert (pix2pix.gan, pix2pix.l1, pix2pix.adversarial) == ("vanilla", 100, 1)
    assert (pix2pix.perceptual, pix2pix.feature_matching) == (0, 0)
    assert crop_rule(pix2pix).minimum == 256
    spec = crn.generator_spec(20)
    assert (spec.kind, spec.width, spec.size_multiple) == ("cascade", 1024, 128)
    assert (crn.adversarial, crn.perceptual_network, crn.learning_rate) == (0, "crn", 1e-4)
    assert {"pix2pix", "crn"} <= PRESETS.keys()


def test_the_discriminator_of_pix2pix_sees_30x30_patches() -> None:
    """Of 70x70 pixels each, in a picture of 256x256, by padding of one pixel."""
    spec = DiscriminatorSpec(6, width=64, scales=1, padding=1, norm="batch")
    with torch.device("meta"):
        (features,) = MultiscaleDiscriminator(spec)(torch.rand(1, 6, 256, 256))
    assert features[-1].shape == (1, 1, 30, 30)


def test_a_step_of_pix2pix(pairs_folder: Path) -> None:
    """Its two terms and its judge, and no others."""
    losses, moved = one_step(config(pairs_folder, PIX2PIX, UNET))
    assert losses.keys() == {"adversarial", "l1", "discriminator"}
    assert losses["discriminator"] == pytest.approx(np.log(2), rel=0.2)  # it can't tell yet
    assert losses["l1"] > 1
    assert moved == {"trained.generator", "discriminator"}


def test_a_step_of_crn(pairs_folder: Path) -> None:
    """Nobody judges; without weights of VGG19 at hand, pixels stand in for its features."""
    losses, moved = one_step(config(pairs_folder, CRN, CASCADE, perceptual=0.0, l1=1.0))
    assert losses.keys() == {"l1"}
    assert moved == {"trained.generator"}


@pytest.mark.parametrize("architecture", [UNET, CASCADE], ids=["unet", "cascade"])
def test_baselines_train_under_our_objective(
    pairs_folder: Path, architecture: dict[str, Any]
) -> None:
    """With instance maps, styles, feature matching and a judge of two sizes."""
    losses, moved = one_step(config(pairs_folder, architecture, perceptual=0.0))
    assert losses.keys() == {"adversarial", "matching", "discriminator"}
    assert moved == {"trained.generator", "trained.encoder", "discriminator"}


def test_switches_leave_terms_and_inputs_out(pairs_folder: Path) -> None:
    """No feature matching, no perceptual loss, one size, no instance maps."""
    plain = {"width": 4, "downsamplings": 2, "blocks": 1, "perceptual": 0.0}
    losses, _ = one_step(
        config(pairs_folder, plain, feature_matching=0.0, discriminator_scales=1, styles=0)
    )
    assert losses.keys() == {"adversarial", "discriminator"}
    data = open_folder(pairs_folder)
    assert data.input(0, edges=False).channels == data.input(0).channels - 1


def test_an_empty_objective_is_refused() -> None:
    """Nothing would be learnt."""
    with pytest.raises(ValueError, match="nothing is learnt"):
        TrainConfig("d", adversarial=0.0, perceptual=0.0)
    with pytest.raises(ValueError, match="generator 'unet' takes none"):
        TrainConfig("d", generator="unet", enhancers=1)


def test_dropout_resumes_where_it_was(pairs_folder: Path, tmp_path: Path) -> None:
    """A run of the U-Net in two parts ends with the weights of one without a break."""
    whole = config(pairs_folder, PIX2PIX, UNET, decay=0.0, images=4, checkpoint_every=2)
    train(whole, tmp_path / "whole")
    train(dataclasses.replace(whole, images=2), tmp_path / "parts")
    train(whole, tmp_path / "parts")
    straight, resumed = (
        safetensors.torch.load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "parts")
    )
    assert [k for k in straight if not torch.equal(straight[k], resumed[k])] == []


@pytest.mark.parametrize(
    "settings",
    [
        {**PIX2PIX, **UNET},
        {**CASCADE, "perceptual": 0.0},
    ],
    ids=["pix2pix", "cascade with styles"],
)
def test_a_trained_baseline_serves(
    pairs_folder: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    """From training over the exported bundle to photographs of maps of an odd size."""
    own = config(pairs_folder, settings)
    state = train(own, tmp_path / "run")
    write_bundle(state, own, tmp_path / "bundle", "baseline")
    bundle = add_engines(tmp_path / "bundle", precisions=("float32",), sizes=((64, 64),))
    assert bundle.engine("onnx").parity.within_one >= 0.999
    assert bundle.input.edges is own.edges
    done = CliRunner().invoke(
        cli, ["synthesize", str(pairs_folder), "-o", str(tmp_path / "photos"), "--model",
              str(tmp_path / "bundle"), "--threads", "1"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "photos" / "0.png") as photo:
        assert photo.size == (80, 64)
        assert np.asarray(photo).std() > 0
