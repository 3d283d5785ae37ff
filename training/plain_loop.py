"""The yardstick of ``hdsynth bench train``: a step in the reference's order of work.

Everything is done as the published code does it, on the same networks: float32 and channels
first, one-hot labels built on the host, every synthesised image judged twice, gradients of the
generator's objective for the discriminator's weights too (cleared before they are used), styles
averaged by a loop over images, instances and channels.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from model import codec
from model.layers import InstanceNorm
from model.spec import InputSpec
from training.config import TrainConfig
from training.losses import (
    adversarial_loss,
    feature_matching_loss,
    generator_adversarial_loss,
)
from training.networks import Networks


class PlainLoop:
    """Copies of a run's networks, trained in the reference's order of work."""

    def __init__(
        self, networks: Networks, config: TrainConfig, perceptual: nn.Module | None
    ) -> None:
        self.config, self.device = config, networks.device
        self.condition = dataclasses.replace(networks.input, style_channels=0)
        self.generator = _channels_first(networks.generator)
        self.encoder = _channels_first(networks.encoder.model) if networks.encoder else None
        self.discriminator = _channels_first(networks.discriminator)
        self.perceptual = _channels_first(perceptual) if perceptual else None
        weights = [*self.generator.parameters()]
        if self.encoder:
            weights += self.encoder.parameters()
        rate, momenta = config.learning_rate, (0.5, 0.999)
        self.optimizer_g = torch.optim.Adam(weights, lr=rate, betas=momenta)
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), lr=rate, betas=momenta)

    def step(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Move the weights by one batch; returns the losses before the move."""
        config, judge = self.config, self.discriminator
        real = batch["image"].to(self.device).float().div(127.5).sub(1.0)
        condition = host_input(self.condition, batch).to(self.device)
        parts = [condition]
        if self.encoder:
            parts.append(instance_mean_by_loop(self.encoder(real), batch["index"]))
        fake = self.generator(torch.cat(parts, dim=1))

        on_pool = judge(torch.cat([condition, fake.detach()], dim=1))
        on_real = judge(torch.cat([condition, real], dim=1))
        on_fake = judge(torch.cat([condition, fake], dim=1))
        judging = 0.5 * (
            adversarial_loss(on_pool, False, config.gan)
            + adversarial_loss(on_real, True, config.gan)
        )
        terms = {
            "adversarial": config.adversarial * generator_adversarial_loss(on_fake, config.gan),
            "matching": config.feature_matching * feature_matching_loss(on_fake, on_real),
        }
        if self.perceptual:
            terms["perceptual"] = config.perceptual * self.perceptual(fake, real)

        self.optimizer_g.zero_grad()
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
        self.optimizer_g.step()
        self.optimizer_d.zero_grad()
        torch.autograd.backward(judging)
        self.optimizer_d.step()
        return {name: term.detach() for name, term in (terms | {"discriminator": judging}).items()}


def host_input(spec: InputSpec, batch: Mapping[str, Tensor]) -> Tensor:
    """Expand the maps of a batch in numpy: (N, spec.channels, H, W) float32."""
    maps = zip(batch["label"].numpy(), batch["instance"].numpy(), strict=True)
    planes = [codec.network_input(spec, label, instance) for label, instance in maps]
    return torch.from_numpy(np.stack(planes))


def instance_mean_by_loop(features: Tensor, index: Tensor) -> Tensor:
    """Do what ``model.encoder.instance_mean`` does, one id, image and channel at a time."""
    means = features.clone()
    ids = index[:, None].to(features.device)
    for number in np.unique(index.numpy()):
        for image in range(len(features)):
            place = (ids[image : image + 1] == int(number)).nonzero()
            for channel in range(features.shape[1]):
                at = (place[:, 0] + image, place[:, 1] + channel, place[:, 2], place[:, 3])
                values = features[at]
                means[at] = values.mean().expand_as(values)
    return means


def _channels_first(network: nn.Module) -> nn.Module:
    """Copy a network with torch's own instance norm and memory layout."""
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, InstanceNorm):
                setattr(parent, name, nn.InstanceNorm2d(child.num_features))
    return network
