"""Everything a run must remember: networks, averaged networks, optimisers and the position.

Saved as safetensors plus JSON, so that reading a checkpoint never executes anything.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from model.spec import InputSpec
from training.config import TrainConfig
from training.files import replacing
from training.networks import Networks

CHECKPOINT = "checkpoint.safetensors"


class TrainingState(Networks):
    """Networks and optimisers of one run, and how many images it has seen."""

    def __init__(self, config: TrainConfig, spec: InputSpec, device: torch.device) -> None:
        """Draw fresh weights from ``config.seed`` for networks that take ``spec``."""
        super().__init__(config, spec, device)
        self.averaged = copy.deepcopy(self.trained).requires_grad_(False).eval()
        self.optimizer_g = _adam(self.trained, config)
        self.optimizer_d = _adam(self.discriminator, config)
        # Gradients of float16 would vanish without a factor, which follows what they allow.
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
        self.position = 0
        """Images seen so far."""

    def average(self, batch: int, half_life: int) -> None:
        """Move the averaged weights towards the current ones.

        The half-life in images grows with the run, so that early weights are soon forgotten.
        """
        beta = 0.5 ** (batch / max(1.0, min(half_life, 0.1 * self.position)))
        with torch.no_grad():
            torch._foreach_lerp_(_floats(self.averaged), _floats(self.trained), 1.0 - beta)

    def save(self, folder: Path) -> None:
        """Write the checkpoint; an interrupted or failed write leaves the previous one.

        Raises OSError naming the file, for instance when the disk is full.
        """
        with replacing(folder / CHECKPOINT) as temporary:
            save_file(
                {name: t.detach().cpu().contiguous() for name, t in self.tensors()},
                temporary,
                metadata={
                    "position": json.dumps(self.position),
                    "scaler": json.dumps(self.scaler.state_dict()),
                },
            )

    def load(self, folder: Path) -> None:
        """Restore a checkpoint written by ``save``.

        Raises FileNotFoundError, and ValueError when it belongs to a run of other networks.
        """
        with safetensors.safe_open(folder / CHECKPOINT, "pt") as saved:
            names = set(saved.keys())
            for name, tensor in self.tensors():
                _check_fits(folder, saved, names, name, tensor)
                tensor.data.copy_(saved.get_tensor(name))
            metadata = saved.metadata()
        self.position = json.loads(metadata["position"])
        scaler = json.loads(metadata.get("scaler", "{}"))
        if scaler and self.scaler.is_enabled():  # a run may change its precision on the way
            self.scaler.load_state_dict(scaler)

    def start_from(self, folder: Path) -> None:
        """Take over another run's networks, current and averaged, with fresh optimisers.

        A run with one enhancer more takes over everything but the new enhancer and the old head;
        a finer scale of the discriminator starts anew. Raises FileNotFoundError, and ValueError
        naming what does not fit.
        """
        with safetensors.safe_open(folder / CHECKPOINT, "pt") as saved:
            names = set(saved.keys())
            for name, tensor in self.tensors():
                if name.startswith("optimizer") or _belongs_to_new_part(name, names):
                    continue
                _check_fits(folder, saved, names, name, tensor)
                tensor.data.copy_(saved.get_tensor(name))

    def enhancer_parameters(self) -> list[nn.Parameter]:
        """Weights of the outermost enhancer and the encoder, which train first alone."""
        outermost = f"generator.model{self.generator.spec.enhancers}_"
        return [
            weight
            for name, weight in self.trained.named_parameters()
            if name.startswith((outermost, "encoder."))
        ]

    def restart_generator_optimizer(self) -> None:
        """Forget Adam's means, which describe the weights that trained so far."""
        for state in self.optimizer_g.state.values():
            for tensor in state.values():
                tensor.zero_()

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor of the run under its name in the checkpoint file."""
        for part, network in (
            ("trained", self.trained),
            ("averaged", self.averaged),
            ("discriminator", self.discriminator),
        ):
            for name, tensor in network.state_dict().items():
                yield f"{part}.{name}", tensor
        for part, optimizer in (
            ("optimizer_g", self.optimizer_g),
            ("optimizer_d", self.optimizer_d),
        ):
            for index, parameter in enumerate(optimizer.param_groups[0]["params"]):
                for name, tensor in optimizer.state[parameter].items():
                    yield f"{part}.{index}.{name}", tensor


def _check_fits(folder: Path, saved: Any, names: set[str], name: str, tensor: Tensor) -> None:
    shape = saved.get_slice(name).get_shape() if name in names else None
    if shape != list(tensor.shape):
        raise ValueError(
            f"{folder / CHECKPOINT}: {name} has shape {shape}, this run needs "
            f"{list(tensor.shape)}; widths, depths and styles must be the same as in "
            f"{folder / 'config.json'}, and the width half as large for one enhancer more"
        )


def _belongs_to_new_part(name: str, saved: set[str]) -> bool:
    """Whether a tensor is of an enhancer or a discriminator scale that the other run lacks."""
    part = re.search(r"\.(model\d+|scale\d+)_", name)
    return part is not None and not any(part[0] in other for other in saved)


def _floats(network: nn.Module) -> list[Tensor]:
    """Weights and running statistics."""
    return [t for t in network.state_dict().values() if t.is_floating_point()]


def _adam(network: nn.Module, config: TrainConfig) -> torch.optim.Adam:
    """Adam with the paper's momenta and its state already in place, so that a load can fill it."""
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(
        parameters, lr=config.learning_rate, betas=(0.5, 0.999), fused=True
    )
    for parameter in parameters:
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        }
    return optimizer
