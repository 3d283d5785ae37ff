"""Every setting of a training run, in one frozen dataclass that is saved beside its checkpoints."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from model.spec import Norm

Gan = Literal["lsgan", "hinge", "vanilla"]
PerceptualNetwork = Literal["vgg19", "squeezenet", "squeezenet+vgg16"]


def _setting(default: Any, text: str) -> Any:
    """A field whose help text is also that of its command-line option."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run. Lengths are counted in images, so batch size never changes them.

    ``data`` is a folder with classes.json, label/, image/ and (optional) instance/, whose files
    are paired by name.
    """

    data: str
    images: int = _setting(20_000, "Length of the run in images seen.")
    decay: float = _setting(0.5, "Share of the run, at its end, with a falling learning rate.")
    batch: int = _setting(1, "Images per step.")
    crop: int = _setting(256, "Side of the square training crops in pixels.")
    scale: tuple[int, int] = _setting(
        (256, 384), "Photos are resized to a random shorter side in this range, then cropped."
    )
    width: int = _setting(32, "Channels of the generator at full resolution.")
    downsamplings: int = _setting(3, "Stride-2 layers of the generator.")
    blocks: int = _setting(6, "Residual blocks of the generator.")
    enhancers: int = _setting(
        0, "Local enhancers around the generator; each doubles its resolution."
    )
    enhancer_blocks: int = _setting(3, "Residual blocks of each local enhancer.")
    enhancer_alone: int = _setting(
        0, "Images for which the enhancers train before the generator inside them joins."
    )
    styles: int = _setting(3, "Channels of the style code per instance; 0 = no styles.")
    norm: Norm = _setting(
        "instance", "instance as published; batch keeps the brightness of style codes."
    )
    freeze_norms: bool = _setting(
        False, "Keep batch norm statistics as they are; for runs that start from another one."
    )
    discriminator_width: int = _setting(32, "Channels of the discriminator's first layer.")
    discriminator_scales: int = _setting(2, "Sizes at which the discriminator judges.")
    adversarial: float = _setting(1.0, "Weight of the adversarial loss; 0 = no discriminator.")
    gan: Gan = _setting("lsgan", "Adversarial loss: least squares as published, or another.")
    feature_matching: float = _setting(10.0, "Weight of the feature-matching loss.")
    perceptual: float = _setting(10.0, "Weight of the perceptual loss; 0 = none.")
    perceptual_network: PerceptualNetwork = _setting(
        "vgg19", "Where it compares: vgg19 as published; squeezenet is the fastest on a CPU."
    )
    perceptual_weights: str | None = _setting(
        None, "Folder with that network's weights; without it they are downloaded once."
    )
    l1: float = _setting(0.0, "Weight of an L1 loss on pixels, which blurs (not in the paper).")
    colour: float = _setting(
        0.0, "Weight of an L1 loss on photographs averaged over 8x8 pixels (not in the paper)."
    )
    style_colour: float = _setting(
        0.0, "Weight of an L1 loss that ties a 3-channel style code to its object's mean colour."
    )
    learning_rate: float = _setting(2e-4, "Step size of Adam.")
    ema_images: int = _setting(2_000, "Half-life in images of the averaged weights that ship.")
    init: str | None = _setting(None, "Run folder whose networks this run starts from.")
    precision: str = _setting(
        "float32", "float32, or bfloat16 where the processor computes it natively."
    )
    seed: int = _setting(0, "Decides initial weights, order and crops.")
    checkpoint_every: int = _setting(1_000, "Images between checkpoints and sample sheets.")
    workers: int = _setting(1, "Processes that load images.")
    device: str = _setting("auto", "cpu, cuda, or auto = cuda where there is one.")

    def __post_init__(self) -> None:
        """Raise ValueError for a setting that is none of its choices, or fits no other."""
        if self.enhancer_alone and not self.enhancers:
            raise ValueError(f"enhancer_alone is {self.enhancer_alone}, but enhancers is 0")
        if self.style_colour and self.styles != 3:
            raise ValueError(f"style_colour needs style codes of 3 channels, not {self.styles}")
        for name, kind in get_type_hints(type(self)).items():
            choices, value = get_args(kind), getattr(self, name)
            if get_origin(kind) is Literal and value not in choices:
                raise ValueError(f"{name} is {value!r}; choose one of {', '.join(choices)}")

    def save(self, path: Path) -> None:
        """Write the settings as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> TrainConfig:
        """Read settings saved by ``save``; raises TypeError on an unknown field."""
        data = json.loads(path.read_text(encoding="utf-8"))
        data["scale"] = tuple(data["scale"])
        return cls(**data)
