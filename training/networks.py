"""The networks that one run trains, built from its settings."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from model.discriminator import MultiscaleDiscriminator
from model.encoder import Encoder
from model.generator import build_generator
from model.layers import ResidualBlock, init_weights
from model.spec import DiscriminatorSpec, EncoderSpec, InputSpec
from training.config import TrainConfig


class Networks:
    """Generator, style encoder and discriminator of a run."""

    def __init__(self, config: TrainConfig, spec: InputSpec, device: torch.device) -> None:
        """Draw fresh weights from ``config.seed`` for networks that take ``spec``."""
        torch.manual_seed(config.seed)
        self.input = spec
        self.device = device
        self.generator = build_generator(config.generator_spec(spec.channels))
        self.encoder = None
        if config.styles:
            self.encoder = Encoder(EncoderSpec(output_channels=config.styles, norm=config.norm))
        self.discriminator = MultiscaleDiscriminator(
            DiscriminatorSpec(
                spec.channels - spec.style_channels + 3,
                width=config.discriminator_width,
                scales=config.discriminator_scales,
                norm=config.discriminator_norm,
                padding=config.discriminator_padding,
            )
        )
        self.trained = nn.ModuleDict({"generator": self.generator})
        if self.encoder:
            self.trained["encoder"] = self.encoder
        # Convolutions run faster with channels last, but on a GPU group norm copies every feature
        # map to channels first and back unless a compiler writes it.
        last = device.type != "cuda" or config.compile
        self.memory_format = torch.channels_last if last else torch.contiguous_format
        for network in (self.trained, self.discriminator):
            network.apply(init_weights)
            network.to(device=device, memory_format=self.memory_format)  # type: ignore[call-overload]

    def prepare(self, config: TrainConfig) -> None:
        """Make the passes of training cheaper; what they compute and its names stay as they are."""
        if self.device.type == "cpu":
            for network in filter(None, (self.generator, self.encoder)):
                _compute_head_in_blocks(network)
        if config.checkpoint_blocks:
            for block in self.trained.modules():
                if isinstance(block, ResidualBlock):
                    _keep_input_alone(block)
        if config.compile:
            self.generator.compile()
            if self.encoder:
                # Its mean over instances depends on the data and stays outside.
                self.encoder.model.compile()
            if self.device.type == "cuda":
                # A compiled network computes the gradients of all its weights whenever it is
                # asked for any; on a CPU that costs more than compiling brings.
                self.discriminator.compile()

    def adopt(self, network: nn.Module, config: TrainConfig) -> nn.Module:
        """Give a network that isn't trained the run's device, layout and compiler."""
        network.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]
        if config.compile:
            network.compile()
        return network

    def parameters(self) -> list[Tensor]:
        """Every weight that the run trains."""
        return [*self.trained.parameters(), *self.discriminator.parameters()]


def _keep_input_alone(block: nn.Module) -> None:
    """Let a block keep its input alone, and compute the rest again for its gradient."""
    again = partial(
        checkpoint,
        block.forward,
        use_reentrant=False,
        preserve_rng_state=False,  # nothing in a block is random
    )
    if any(isinstance(layer, nn.BatchNorm2d) for layer in block.modules()):
        again.keywords["context_fn"] = lambda: (nullcontext(), _FrozenStatistics(block))
    block.forward = again


class _FrozenStatistics:
    """Keep the statistics of batch norms from counting the same batch twice."""

    def __init__(self, block: nn.Module) -> None:
        self.norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]

    def __enter__(self) -> None:
        self.before = [(n.momentum, n.num_batches_tracked) for n in self.norms]
        for norm in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, *_: object) -> None:
        for norm, (momentum, count) in zip(self.norms, self.before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def _compute_head_in_blocks(network: nn.Module) -> None:
    """Compute the last 7x7 convolution 2x2 pixels at a time.

    Three output channels leave most of a processor's vector unit idle; as one convolution of
    stride 2 with a shifted copy of the kernel for each of four pixels they are twelve.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (7, 7) and layer.out_channels < 4:
            layer.forward = partial(_in_blocks, layer)  # type: ignore[method-assign]


def _in_blocks(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 7x7 convolution without padding to (N, C, H, W), H and W even."""
    assert layer.bias is not None
    kernels = [F.pad(layer.weight, (j, 1 - j, i, 1 - i)) for i in (0, 1) for j in (0, 1)]
    weight = torch.stack(kernels, dim=1).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return F.pixel_shuffle(F.conv2d(x, weight, layer.bias.repeat_interleave(4), stride=2), 2)
