"""The networks that one run trains, built from its settings."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.discriminator import MultiscaleDiscriminator
from model.encoder import Encoder
from model.generator import build_generator
from model.layers import ResidualBlock, init_weights
from model.spec import DiscriminatorSpec, EncoderSpec, GeneratorSpec, InputSpec
from training.config import TrainConfig


class Networks:
    """Generator, style encoder and discriminator of a run."""

    def __init__(self, config: TrainConfig, spec: InputSpec, device: torch.device) -> None:
        """Draw fresh weights from ``config.seed`` for networks that take ``spec``."""
        torch.manual_seed(config.seed)
        self.input = spec
        self.device = device
        self.generator = build_generator(
            GeneratorSpec(
                "local" if config.enhancers else "global",
                spec.channels,
                width=config.width,
                downsamplings=config.downsamplings,
                blocks=config.blocks,
                enhancers=config.enhancers,
                enhancer_blocks=config.enhancer_blocks if config.enhancers else 0,
                norm=config.norm,
            )
        )
        self.encoder = None
        if config.styles:
            self.encoder = Encoder(EncoderSpec(output_channels=config.styles, norm=config.norm))
        self.discriminator = MultiscaleDiscriminator(
            DiscriminatorSpec(
                spec.channels - spec.style_channels + 3,
                width=config.discriminator_width,
                scales=config.discriminator_scales,
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

    def checkpoint_blocks(self) -> None:
        """Let residual blocks keep their input alone and compute the rest again when needed."""
        for block in self.trained.modules():
            if isinstance(block, ResidualBlock):
                contexts = partial(_first_and_second_pass, block)
                block.forward = partial(  # type: ignore[method-assign]
                    checkpoint,
                    block.forward,
                    use_reentrant=False,
                    preserve_rng_state=False,  # nothing in a block is random
                    context_fn=contexts,
                )

    def compile(self) -> None:
        """Compile in place, at the first call; names in a checkpoint stay as they are.

        The encoder's instance-wise mean depends on the data and stays outside.
        """
        self.generator.compile()
        if self.encoder:
            self.encoder.model.compile()
        if self.device.type == "cuda":
            # A compiled network computes the gradients of all its weights whenever it is asked
            # for any, which on a CPU costs more than compiling the discriminator brings.
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


class _FrozenStatistics:
    """Keep the statistics of batch norms from counting the same batch twice."""

    def __init__(self, block: nn.Module) -> None:
        self.norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]

    def __enter__(self) -> None:
        for norm in self.norms:
            norm.track_running_stats = False

    def __exit__(self, *_: object) -> None:
        for norm in self.norms:
            norm.track_running_stats = True


def _first_and_second_pass(block: nn.Module) -> tuple[Any, Any]:
    """Contexts in which ``checkpoint`` runs a block forward, and again for its gradient."""
    return nullcontext(), _FrozenStatistics(block)
