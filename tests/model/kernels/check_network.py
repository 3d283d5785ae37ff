"""The generator on kernels gives the same photographs; run by tests/model/test_kernels.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.parity import Feeds, check_parity, compare, generator_samples
from export.random_bundle import write_random_weights
from model.checkpoint import load_generator
from model.generator import GlobalGenerator, LocalEnhancer, build_generator
from model.kernels.network import KernelSynthesis, gpu_synthesis
from model.layers import init_weights
from model.spec import GeneratorKind, GeneratorSpec, InputSpec, Norm
from model.synthesis import Synthesis


def make_synthesis(spec: InputSpec, enhancers: int, norm: Norm) -> Synthesis:
    """A tiny network with strong random weights and statistics."""
    torch.manual_seed(0)
    size = GeneratorSpec(
        "local" if enhancers else "global", spec.channels, width=4, downsamplings=1, blocks=1,
        norm=norm, enhancers=enhancers, enhancer_blocks=min(1, enhancers),
    )  # fmt: skip
    network = build_generator(size).apply(init_weights).requires_grad_(False).eval()
    for parameter in network.parameters():
        parameter.mul_(8)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return Synthesis(spec, network)


def on_kernels(reference: Synthesis) -> KernelSynthesis:
    """The same network on kernels, which uses the reference up."""
    generator = reference.generator
    assert isinstance(generator, (GlobalGenerator, LocalEnhancer))
    return KernelSynthesis(reference.spec, generator, torch.float32)


def draw(spec: InputSpec, side: int) -> list[Tensor]:
    """Two scenes with void labels, instances and styles, as far as the model takes them."""
    label = torch.randint(0, spec.label_count + 1, (2, side, side), dtype=torch.uint8)
    if not spec.label_count:
        label = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8)
    ids = torch.randint(0, 3, (2, side, side), dtype=torch.int32)
    if not spec.style_channels:
        return [label, ids]
    return [label, ids, ids, torch.randn(2, 3, spec.style_channels)]


@pytest.mark.parametrize(
    ("spec", "enhancers", "norm"),
    [
        (InputSpec(5, style_channels=2), 0, "batch"),
        (InputSpec(5, style_channels=2), 1, "instance"),
        (InputSpec(5, edges=False), 1, "batch"),
        (InputSpec(5), 2, "instance"),
        (InputSpec(0), 1, "instance"),
    ],
)
def test_network_gives_the_reference_photographs(
    spec: InputSpec, enhancers: int, norm: Norm
) -> None:
    """Every kind of generator and input: float32 within one level, nearly always equal."""
    reference = make_synthesis(spec, enhancers, norm)
    scenes = draw(spec, 4 * 2 ** max(1, enhancers))
    with torch.no_grad():
        wanted = reference(*scenes)
        out = on_kernels(reference)(*scenes)
    apart = (out.int() - wanted.int()).abs()
    assert apart.max() <= 1
    assert (apart > 0).float().mean() <= 1e-3
    assert wanted.float().std() > 40


def test_network_passes_the_parity_check_in_half_precision(tmp_path: Path) -> None:
    """float16 keeps to the tolerance that exported float16 graphs must keep to."""
    spec = InputSpec(5)
    size = GeneratorSpec(
        "local", spec.channels, width=8, downsamplings=1, blocks=1, enhancers=1, enhancer_blocks=1
    )
    bundle = write_random_weights(tmp_path / "bundle", "tiny", spec, size, (16, 8))
    network = gpu_synthesis(spec, load_generator(bundle), torch.float16)
    assert isinstance(network, KernelSynthesis)

    @torch.no_grad()
    def run(feeds: Feeds) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = network(
            **{name: torch.from_numpy(array) for name, array in feeds.items()}
        ).numpy()
        return pixels

    # No plain areas: instance norm would blow their rounding errors up in any half precision.
    label, instance = (tensor.numpy() for tensor in draw(spec, 16))
    parity = compare(generator_samples(bundle, [{"label": label, "instance": instance}]), run)
    check_parity(parity, "kernels", "float16")
    assert 0 < parity.mean < 0.5


@pytest.mark.parametrize("kind", ["unet", "cascade"])
def test_baselines_run_without_kernels(kind: GeneratorKind) -> None:
    """Generators that begin and end otherwise give their photographs all the same."""
    torch.manual_seed(0)
    spec = InputSpec(5)
    size = GeneratorSpec(kind, spec.channels, width=4, downsamplings=2, blocks=0, norm="batch")
    network = build_generator(size).apply(init_weights).requires_grad_(False).eval()
    scenes = draw(spec, 16)
    wanted = Synthesis(spec, network)(*scenes)
    out = gpu_synthesis(spec, network, torch.float32)(*scenes)
    assert (out.int() - wanted.int()).abs().max() <= 1
    assert wanted.float().std() > 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_network_can_be_exported_and_traced_with_its_kernels() -> None:
    """What the compiler works on: one graph, kernels inside, the same pixels."""
    spec = InputSpec(5)
    reference = make_synthesis(spec, 1, "batch")
    scenes = tuple(draw(spec, 8))
    with torch.no_grad():
        network = on_kernels(reference)
        program = torch.export.export(network, scenes).module()
        # All of torch.compile but Inductor, which writes other code for the CPU than for a GPU.
        compiled = torch.compile(program, dynamic=False, backend="aot_eager")
        assert torch.equal(compiled(*scenes), network(*scenes))
    names = {str(node.target) for node in program.graph.nodes}
    kernels = ("one_hot_stem", "pool_labels", "pooled_stem", "pixel_head")
    assert {f"hdsynth.{kernel}.default" for kernel in kernels} <= names
