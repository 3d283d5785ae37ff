"""Load checkpoints of the published pix2pixHD implementation (``*_net_{G,D,E}.pth``).

Those files hold bare tensors and no configuration. Everything is inferred from the names and
shapes, which ends the reference's most common failure: a wrong ``--netG`` or ``--ngf`` loading
half of the weights in silence.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from model.discriminator import MultiscaleDiscriminator
from model.encoder import Encoder
from model.generator import build_generator
from model.spec import DiscriminatorSpec, EncoderSpec, GeneratorSpec, Norm

State = dict[str, Tensor]

DIRECT = r"\.(\d+)\.weight"
"""Matches the weight of a module that sits directly in a Sequential."""


class ReferenceCheckpointError(ValueError):
    """The file is not a pix2pixHD checkpoint, or not one whose layout is known."""


def load_reference_checkpoint(path: str | Path) -> nn.Module:
    """Read a reference checkpoint and return its network in evaluation mode, in float32.

    The result is a ``GlobalGenerator``, ``LocalEnhancer`` (both ``net(x)``), ``Encoder``
    (``net(image, instance)``) or ``MultiscaleDiscriminator`` (``net(x)``, a list of lists with
    the finest scale first); its ``spec`` attribute says what was inferred. Files written before
    PyTorch 0.4, whose instance norms carry unused statistics, are accepted.

    Raises FileNotFoundError, and ReferenceCheckpointError when the file is not a state dict of
    tensors, or when any key is missing, left over or of the wrong shape. No code stored in the
    file is ever run.
    """
    state = read_state_dict(path)
    try:
        network = _build(state)
        network.load_state_dict(_current_layout(state, network))
    except (KeyError, RuntimeError, ValueError) as error:
        raise ReferenceCheckpointError(f"{path}: {' '.join(str(error).split())}") from error
    return network.eval()


def read_state_dict(path: str | Path) -> State:
    """Read a ``.pth`` file as a flat dict of CPU tensors without running stored code.

    Raises FileNotFoundError and ReferenceCheckpointError.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ReferenceCheckpointError(
            f"{path}: not a PyTorch state dict of plain tensors ({str(error).splitlines()[0]})"
        ) from error
    if not isinstance(loaded, Mapping) or not loaded:
        raise ReferenceCheckpointError(f"{path}: holds {type(loaded).__name__}, not a state dict")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ReferenceCheckpointError(f"{path}: entry {key!r} is not a tensor")
    prefixed = all(key.startswith("module.") for key in loaded)
    return {k.removeprefix("module.") if prefixed else k: v for k, v in loaded.items()}


def infer_spec(state: Mapping[str, Tensor]) -> GeneratorSpec | EncoderSpec | DiscriminatorSpec:
    """Infer the whole configuration from key names and shapes.

    Raises ReferenceCheckpointError when the layout is not one of the published networks.
    """
    if any(re.match(r"(scale\d+_layer|layer)\d+\.", key) for key in state):
        return _discriminator_spec(state)
    if "model.1.weight" not in state:
        raise ReferenceCheckpointError(
            "no pix2pixHD generator, encoder or discriminator: expected a key "
            f"'model.1.weight' or 'scale0_layer0.0.weight', found {min(state)!r}"
        )
    blocks = _indices(state, r"model\.(\d+)\.conv_block\.1\.weight")
    enhancers = len(_indices(state, r"model(\d+)_1\.1\.weight"))
    if not blocks and not enhancers:
        return _encoder_spec(state)
    # Plain convolutions of the trunk: stem, downs, ups and, unless enhancers follow, the head.
    plain = len(_convolutions(state))
    outer = f"model{enhancers}_1.1.weight" if enhancers else "model.1.weight"
    # The head is the last convolution of the outermost stage.
    stage = rf"model{enhancers}_2" if enhancers else "model"
    head_key = f"{stage}.{_indices(state, stage + DIRECT)[-1]}"
    return GeneratorSpec(
        kind="local" if enhancers else "global",
        input_channels=state["model.1.weight"].shape[1],
        output_channels=state[f"{head_key}.weight"].shape[0],
        width=state[outer].shape[0],
        downsamplings=(plain - (1 if enhancers else 2)) // 2,
        blocks=len(blocks),
        enhancers=enhancers,
        enhancer_blocks=len(_indices(state, r"model1_2\.(\d+)\.conv_block\.1\.weight")),
        norm=_norm(state, "model.2.weight"),
    )


def _encoder_spec(state: Mapping[str, Tensor]) -> EncoderSpec:
    indices = _convolutions(state)
    downs = (len(indices) - 2) // 2
    return EncoderSpec(
        input_channels=state["model.1.weight"].shape[1],
        output_channels=state[f"model.{indices[-1]}.weight"].shape[0],
        width=state["model.1.weight"].shape[0],
        downsamplings=downs,
        norm=_norm(state, "model.2.weight"),
        # 5 + 6 * downs with a padding module before the last convolution, one less without.
        reflect_output=indices[-1] == 5 + 6 * downs,
    )


def _discriminator_spec(state: Mapping[str, Tensor]) -> DiscriminatorSpec:
    staged = "scale0_layer0.0.weight" in state
    if staged:
        scales = len(_indices(state, r"scale(\d+)_layer0\.0\.weight"))
        layers = len(_indices(state, r"scale0_layer(\d+)\.0\.weight")) - 2
        first, norm_key = state["scale0_layer0.0.weight"], "scale0_layer1.1.weight"
    else:
        scales = len(_indices(state, r"layer(\d+)\.0\.weight"))
        first, norm_key = state["layer0.0.weight"], "layer0.3.weight"
        layers = sum(1 for k, v in state.items() if k.startswith("layer0.") and v.dim() == 4) - 2
    return DiscriminatorSpec(
        input_channels=first.shape[1],
        width=first.shape[0],
        layers=layers,
        scales=scales,
        norm=_norm(state, norm_key),
        intermediate_features=staged,
    )


def _build(state: Mapping[str, Tensor]) -> nn.Module:
    spec = infer_spec(state)
    if isinstance(spec, GeneratorSpec):
        return build_generator(spec)
    if isinstance(spec, EncoderSpec):
        return Encoder(spec)
    return MultiscaleDiscriminator(spec)


def _current_layout(state: State, network: nn.Module) -> State:
    """Drop statistics that instance norm no longer has; rename single-list discriminators."""
    spec = network.spec
    assert isinstance(spec, GeneratorSpec | EncoderSpec | DiscriminatorSpec)
    if spec.norm == "instance":
        stale = ("running_mean", "running_var", "num_batches_tracked")
        state = {k: v for k, v in state.items() if k.rpartition(".")[2] not in stale}
    if isinstance(spec, DiscriminatorSpec) and not spec.intermediate_features:
        state = {_staged_name(k): v for k, v in state.items()}
    return state


def _staged_name(key: str) -> str:
    """``layer0.5.weight`` of a discriminator without feature lists -> ``scale0_layer2.0.weight``.

    There one Sequential holds all layers: conv, LeakyReLU, then conv, norm, LeakyReLU each.
    """
    scale, index, name = re.fullmatch(r"layer(\d+)\.(\d+)\.(.+)", key).groups()  # type: ignore[union-attr]
    layer, part = divmod(int(index) + 1, 3)
    inner = 0 if int(index) == 0 else part
    return f"scale{scale}_layer{layer}.{inner}.{name}"


def _norm(state: Mapping[str, Tensor], first_norm_weight: str) -> Norm:
    return "batch" if first_norm_weight in state else "instance"


def _convolutions(state: Mapping[str, Tensor]) -> list[int]:
    """Positions of the plain convolutions directly inside ``model``."""
    found = _indices(state, "model" + DIRECT)
    return [i for i in found if state[f"model.{i}.weight"].dim() == 4]


def _indices(state: Mapping[str, Tensor], pattern: str) -> list[int]:
    matches = (re.fullmatch(pattern, key) for key in state)
    return sorted({int(m.group(1)) for m in matches if m})
