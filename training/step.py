"""One step of training: what is compared, and how the weights follow.

The reference judges every synthesised image twice and lets the generator's gradients run into the
discriminator's weights, to throw them away. Here both objectives share the networks' one pass,
and each gradient is computed for the weights that it moves alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.encoder import instance_mean
from model.inputs import network_input
from training.config import TrainConfig
from training.losses import (
    adversarial_loss,
    colour_loss,
    feature_matching_loss,
    generator_adversarial_loss,
)
from training.networks import Networks
from training.processes import Processes
from training.state import TrainingState


@dataclass(frozen=True)
class Losses:
    """Scalars (float32) of one batch."""

    terms: dict[str, Tensor]
    """What the generator and the encoder minimise, each with its weight."""
    discriminator: Tensor | None
    """What the discriminator minimises; None in a run without one."""

    @property
    def generator(self) -> Tensor:
        """Sum of the terms."""
        return torch.stack(list(self.terms.values())).sum()

    def named(self) -> dict[str, Tensor]:
        """All of them, for reports."""
        named = {name: term.detach() for name, term in self.terms.items()}
        if self.discriminator is not None:
            named["discriminator"] = self.discriminator.detach()
        return named


def compare(
    networks: Networks,
    config: TrainConfig,
    perceptual: nn.Module | None,
    batch: Mapping[str, Tensor],
) -> Losses:
    """Synthesise the photographs of a batch from their maps and judge them (paper section 3).

    ``batch`` holds label, instance and index (N, H, W) and image (N, 3, H, W) uint8. Labels
    travel as integers and are expanded on the device. Only convolutions run in
    ``config.precision``: norms take their statistics, and losses their means, in float32.
    """
    device, layout = networks.device, networks.memory_format
    label, instance, index, image = (
        batch[name].to(device, non_blocking=True)
        for name in ("label", "instance", "index", "image")
    )
    precision = torch.autocast(
        device.type, getattr(torch, config.precision), enabled=config.precision != "float32"
    )

    def joined(*parts: Tensor) -> Tensor:
        return torch.cat(parts, dim=1).contiguous(memory_format=layout)

    real = image.float().div(127.5).sub(1.0).contiguous(memory_format=layout)
    condition = network_input(networks.input, label, instance)
    terms: dict[str, Tensor] = {}
    judging = None
    with precision:
        styles = [networks.encoder(real, index)] if networks.encoder else []
        fake = networks.generator(joined(condition, *styles))
        if config.adversarial:
            # Two passes rather than one over both: the generator's gradient goes through the
            # fake images alone.
            on_real = networks.discriminator(joined(condition, real))
            on_fake = networks.discriminator(joined(condition, fake))
        perceived = perceptual(fake, real) if perceptual else None
    if config.adversarial:
        judging = 0.5 * (
            adversarial_loss(on_fake, False, config.gan)
            + adversarial_loss(on_real, True, config.gan)
        )
        fooling = generator_adversarial_loss(on_fake, config.gan)
        terms["adversarial"] = config.adversarial * fooling
        if config.feature_matching:
            terms["matching"] = config.feature_matching * feature_matching_loss(on_fake, on_real)
    if perceived is not None:
        terms["perceptual"] = config.perceptual * perceived
    if config.l1:
        terms["l1"] = config.l1 * F.l1_loss(fake.float(), real)
    if config.colour:
        terms["colour"] = config.colour * colour_loss(fake, real)
    if config.style_colour:
        # Not in the paper: a code that starts as a colour teaches the generator at once what
        # codes are for, and gives people numbers that they understand.
        mean_colour = instance_mean(real, index)
        terms["style"] = config.style_colour * F.l1_loss(styles[0].float(), mean_colour)
    return Losses(terms, judging)


def train_step(
    state: TrainingState,
    config: TrainConfig,
    perceptual: nn.Module | None,
    batch: Mapping[str, Tensor],
    processes: Processes | None = None,
) -> dict[str, Tensor]:
    """Move the weights by one batch and count its images; returns the losses before the move."""
    processes = processes or Processes()
    losses = compare(state, config, perceptual, batch)
    optimizers = [state.optimizer_g]
    alone = state.position < config.enhancer_alone
    moving = state.enhancer_parameters() if alone else list(state.trained.parameters())

    # Both gradients come from the weights before the step, as in the reference.
    if losses.discriminator is not None:
        optimizers.append(state.optimizer_d)
        judged = list(state.discriminator.parameters())
        torch.autograd.backward(
            state.scaler.scale(losses.discriminator), inputs=judged, retain_graph=True
        )
    torch.autograd.backward(state.scaler.scale(losses.generator), inputs=moving)
    processes.average_gradients(state.parameters())
    for optimizer in optimizers:
        state.scaler.step(optimizer)
        optimizer.zero_grad(set_to_none=True)
    state.scaler.update()

    seen = len(batch["index"]) * processes.count
    state.position += seen
    state.average(seen, config.ema_images)
    if alone and state.position >= config.enhancer_alone:
        state.restart_generator_optimizer()  # the whole generator trains from here on
    return losses.named()
