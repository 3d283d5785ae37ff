"""What a run will need, told before it starts: weights per network and memory of a device."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef

from model.spec import InputSpec
from training.config import TrainConfig
from training.networks import Networks
from training.perceptual import perceptual_loss
from training.step import compare


@dataclass(frozen=True)
class Needs:
    """Numbers of weights, and bytes on the device that trains."""

    parameters: dict[str, int]
    """Network -> number of weights."""
    weights: int
    """Of all networks, the averaged copy and the perceptual network."""
    gradients: int
    optimizer: int
    """Adam's two means."""
    activations: int
    """What the networks keep of one batch until its gradient is computed."""

    @property
    def total(self) -> int:
        """All bytes together; scratch memory of convolutions comes on top."""
        return self.weights + self.gradients + self.optimizer + self.activations


def estimate(config: TrainConfig, spec: InputSpec, size: tuple[int, int]) -> Needs:
    """Estimate what training takes on crops of ``size`` (height, width) pixels.

    Nothing is computed: the networks run on tensors that have a shape but no values.
    """
    perceptual = None
    with torch.device("meta"):
        networks = Networks(config, spec, torch.device("meta"))
        if config.perceptual:
            perceptual = perceptual_loss(config.perceptual_network, pretrained=False)
    networks.prepare(dataclasses.replace(config, compile=False))
    # Autocast follows the device, which need not exist here: a CPU's rules stand for all.
    networks.device = torch.device("cpu")
    with FakeTensorMode(allow_non_fake_inputs=True):
        for network in filter(None, (networks.trained, networks.discriminator, perceptual)):
            network.to_empty(device=networks.device)
        activations = _kept(networks, config, perceptual, size)
    trained, judge = _count(networks.trained), _count(networks.discriminator)
    parameters = {"generator": _count(networks.generator)}
    if networks.encoder:
        parameters["encoder"] = _count(networks.encoder)
    parameters["discriminator"] = judge
    if perceptual:
        parameters["perceptual network (fixed)"] = _count(perceptual)
    return Needs(
        parameters,
        weights=4 * (2 * trained + judge + (_count(perceptual) if perceptual else 0)),
        gradients=4 * (trained + judge),
        optimizer=8 * (trained + judge),
        activations=activations,
    )


def _kept(
    networks: Networks, config: TrainConfig, perceptual: nn.Module | None, size: tuple[int, int]
) -> int:
    """Bytes of all distinct tensors that autograd keeps of one batch, weights left out."""
    weights = {_storage(p) for p in networks.parameters()}
    if perceptual:
        weights |= {_storage(p) for p in perceptual.parameters()}
    kept: dict[StorageWeakRef, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    if networks.encoder:
        # Which pixels form an instance depends on values; their mean itself keeps little.
        config = dataclasses.replace(config, style_colour=0.0)
        model = networks.encoder.model
        networks.encoder.forward = lambda image, instance: model(image)  # type: ignore[method-assign]  # noqa: ARG005
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = compare(networks, config, perceptual, _batch(config, networks.input, size))
        assert losses.generator.requires_grad
    return sum(kept.values())


def _batch(config: TrainConfig, spec: InputSpec, size: tuple[int, int]) -> dict[str, Tensor]:
    shape = (config.batch, *size)
    label = shape if spec.label_count else (*shape, spec.image_channels)
    return {
        "label": torch.zeros(label, dtype=torch.uint8),
        "instance": torch.zeros(shape, dtype=torch.int32),
        "index": torch.zeros(shape, dtype=torch.int32),
        "image": torch.zeros((config.batch, 3, *size), dtype=torch.uint8),
    }


def _storage(tensor: Tensor) -> StorageWeakRef:
    """Identify the memory of a tensor, which views share."""
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
