from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from cli.bench_train import bench_train
from model.encoder import instance_mean
from model.inputs import network_input
from model.spec import InputSpec
from training.bench import drawn_batches, real_batches
from training.config import TrainConfig
from training.data import open_folder
from training.networks import Networks
from training.plain_loop import host_input, instance_mean_by_loop

SPEC = InputSpec(11, edges=True, style_channels=3)


def test_both_loops_have_equal_losses(tmp_path: Path) -> None:
    """The command writes the table and all numbers; the two loops learn the same."""
    output = tmp_path / "deep" / "train.md"
    small = [
        "--set", "width=4", "--set", "downsamplings=2", "--set", "blocks=1", "--set", "batch=2",
        "--set", "discriminator_width=4", "--size", "64x64", "--steps", "1", "--threads", "1",
    ]  # fmt: skip
    done = CliRunner().invoke(bench_train, [*small, "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert output.read_text() in done.output
    assert "| plain loop, float32 |" in done.output
    plain, ours = json.loads(output.with_suffix(".json").read_text())["loops"]
    assert ours["ratio"] == pytest.approx(plain["median_ms"] / ours["median_ms"])
    assert len(ours["losses"]) == 3
    for wanted, found in zip(plain["losses"], ours["losses"], strict=True):
        assert found == pytest.approx(wanted, rel=1e-3)
    assert plain["losses"][0]["perceptual"] > 0
    assert plain["losses"][2] != plain["losses"][1]


def test_the_plain_loop_prepares_the_same_input() -> None:
    """One-hot and edges from the host, and instance-wise means, are those of training."""
    (batch,) = drawn_batches(SPEC, (80, 64), 2, 1)
    condition = InputSpec(11, edges=True)
    expected = network_input(condition, batch["label"], batch["instance"])
    assert torch.equal(host_input(condition, batch), expected)
    features = torch.randn(2, 3, 64, 80)
    means = instance_mean_by_loop(features, batch["index"])
    torch.testing.assert_close(means, instance_mean(features, batch["index"]))


def test_batches_can_come_from_real_pairs(pairs_folder: Path) -> None:
    """Any number of them, at the size that is asked for."""
    batches = real_batches(open_folder(pairs_folder), (40, 24), batch=2, count=4)
    assert len(batches) == 4
    assert batches[3]["image"].shape == (2, 3, 24, 40)
    assert batches[3]["index"].shape == (2, 24, 40)


def test_a_head_in_blocks_is_the_same_convolution() -> None:
    """Output and gradients are those of the network as it is written down."""
    config = TrainConfig("data", width=4, downsamplings=2, blocks=1)
    plain, prepared = (Networks(config, SPEC, torch.device("cpu")) for _ in range(2))
    prepared.prepare(config)
    x = torch.randn(2, SPEC.channels, 16, 24).requires_grad_()
    results = []
    for networks in (plain, prepared):
        out = networks.generator(x)
        weights = list(networks.generator.parameters())
        results.append((out, *torch.autograd.grad(out.square().mean(), [x, *weights])))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
