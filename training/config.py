"""Every setting of a training run, in one frozen dataclass that is saved beside its checkpoints."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from model.spec import GeneratorKind, GeneratorSpec, Norm

Gan = Literal["lsgan", "hinge", "vanilla"]
Resize = Literal[
    "random_scale", "resize_and_crop", "scale_width", "scale_width_and_crop", "crop", "none"
]
PerceptualNetwork = Literal["vgg19", "squeezenet", "squeezenet+vgg16", "crn"]
Architecture = Literal["residual", "unet", "cascade"]
Precision = Literal["float32", "bfloat16", "float16"]


def _setting(default: Any, text: str, *, option: bool = False) -> Any:
    """A field with its help text; ``option`` gives it a command-line option of its own."""
    return field(default=default, metadata={"help": text, "option": option})


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run. Lengths are counted in images, so batch size never changes them.

    ``data`` is a folder with classes.json, label/, image/ and (optional) instance/, whose files
    are paired by name.
    """

    data: str
    images: int = _setting(20_000, "Length of the run in images seen.", option=True)
    decay: float = _setting(0.5, "Share of the run, at its end, with a falling learning rate.")
    batch: int = _setting(1, "Images per step.", option=True)
    crop: int = _setting(256, "Side of the square training crops in pixels.", option=True)
    scale: tuple[int, int] = _setting(
        (256, 384),
        "Photos are resized to a random shorter side in this range, then cropped.",
        option=True,
    )
    resize: Resize = _setting(
        "random_scale",
        "How photos become crops: random_scale; as in the reference with --scale in place of its "
        "loadSize (resize_and_crop: that square; scale_width: that width); crop alone; or none. "
        "Sides always end at legal multiples.",
        option=True,
    )
    edges: bool = _setting(
        True, "Show the networks the borders between instances; false = labels alone."
    )
    warp: float = _setting(
        0.0, "Share of the crops that are warped, maps and photo alike (not in the paper)."
    )
    generator: Architecture = _setting(
        "residual", "residual is the method's own; unet that of pix2pix; cascade that of CRN."
    )
    width: int = _setting(32, "Channels of the generator's first layer.", option=True)
    downsamplings: int = _setting(3, "Stride-2 layers of the generator.", option=True)
    blocks: int = _setting(6, "Residual blocks of the generator.", option=True)
    enhancers: int = _setting(
        0, "Local enhancers around the generator; each doubles its resolution.", option=True
    )
    enhancer_blocks: int = _setting(3, "Residual blocks of each local enhancer.")
    enhancer_alone: int = _setting(
        0, "Images for which the enhancers train before the generator inside them joins."
    )
    styles: int = _setting(
        3, "Channels of the style code per instance; 0 = no styles.", option=True
    )
    norm: Norm = _setting(
        "instance", "instance as published; batch keeps the brightness of style codes.", option=True
    )
    freeze_norms: bool = _setting(
        False, "Keep batch norm statistics as they are; for runs that start from another one."
    )
    discriminator_width: int = _setting(32, "Channels of the discriminator's first layer.")
    discriminator_scales: int = _setting(2, "Sizes at which the discriminator judges.")
    discriminator_norm: Norm = _setting("instance", "instance as published; pix2pix has batch.")
    discriminator_padding: int = _setting(2, "2 as published; pix2pix has 1.")
    adversarial: float = _setting(1.0, "Weight of the adversarial loss; 0 = no discriminator.")
    gan: Gan = _setting("lsgan", "Adversarial loss: least squares as published, or another.")
    feature_matching: float = _setting(10.0, "Weight of the feature-matching loss.")
    perceptual: float = _setting(10.0, "Weight of the perceptual loss; 0 = none.", option=True)
    perceptual_network: PerceptualNetwork = _setting(
        "vgg19",
        "Where it compares: vgg19 as published; squeezenet is the fastest on a CPU; crn as the "
        "cascaded refinement network does, on VGG19 and pixels.",
        option=True,
    )
    perceptual_weights: str | None = _setting(
        None,
        "Folder with that network's weights; without it they are downloaded once.",
        option=True,
    )
    l1: float = _setting(0.0, "Weight of an L1 loss on pixels, which blurs (not in the paper).")
    colour: float = _setting(
        0.0, "Weight of an L1 loss on photographs averaged over 8x8 pixels (not in the paper)."
    )
    style_colour: float = _setting(
        0.0, "Weight of an L1 loss that ties a 3-channel style code to its object's mean colour."
    )
    learning_rate: float = _setting(2e-4, "Step size of Adam.", option=True)
    ema_images: int = _setting(2_000, "Half-life in images of the averaged weights that ship.")
    init: str | None = _setting(
        None, "Run folder whose networks this run starts from.", option=True
    )
    precision: Precision = _setting(
        "float32",
        "Of convolutions; norms, losses and weights stay float32. GPUs: float16.",
        option=True,
    )
    compile: bool = _setting(
        False,
        "Compile the networks first: a minute or more at the start, faster steps after.",
        option=True,
    )
    checkpoint_blocks: bool = _setting(
        False, "Compute residual blocks twice instead of keeping their activations in memory."
    )
    seed: int = _setting(0, "Decides initial weights, order and crops.", option=True)
    checkpoint_every: int = _setting(
        1_000, "Images between checkpoints and sample sheets.", option=True
    )
    workers: int = _setting(1, "Processes that load images.", option=True)
    device: str = _setting("auto", "cpu, cuda, or auto = cuda where there is one.", option=True)

    def __post_init__(self) -> None:
        """Raise ValueError for a setting that is none of its choices, or fits no other."""
        if self.enhancer_alone and not self.enhancers:
            raise ValueError(f"enhancer_alone is {self.enhancer_alone}, but enhancers is 0")
        if self.enhancers and self.generator != "residual":
            raise ValueError(
                f"enhancers is {self.enhancers}, but generator {self.generator!r} takes none"
            )
        if not (self.adversarial or self.perceptual or self.l1 or self.colour):
            raise ValueError("adversarial, perceptual, l1 and colour are all 0; nothing is learnt")
        if self.style_colour and self.styles != 3:
            raise ValueError(f"style_colour needs style codes of 3 channels, not {self.styles}")
        if self.compile and self.checkpoint_blocks and self.norm == "batch":
            raise ValueError(
                "the compiler can't checkpoint_blocks with batch norm; leave one of the three out"
            )
        for name, kind in get_type_hints(type(self)).items():
            choices, value = get_args(kind), getattr(self, name)
            if get_origin(kind) is Literal and value not in choices:
                raise ValueError(f"{name} is {value!r}; choose one of {', '.join(choices)}")
        for name in ("images", "batch", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")

    def generator_spec(self, channels: int) -> GeneratorSpec:
        """Describe the generator of this run for an input of ``channels``."""
        kind: GeneratorKind = "local" if self.enhancers else "global"
        if self.generator != "residual":
            kind = self.generator
        return GeneratorSpec(
            kind,
            channels,
            width=self.width,
            downsamplings=self.downsamplings,
            blocks=self.blocks if self.generator == "residual" else 0,
            enhancers=self.enhancers,
            enhancer_blocks=self.enhancer_blocks if self.enhancers else 0,
            norm=self.norm,
        )

    def save(self, path: Path) -> None:
        """Write the settings as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> TrainConfig:
        """Read settings saved by ``save``; raises TypeError on an unknown field."""
        data = json.loads(path.read_text(encoding="utf-8"))
        data["scale"] = tuple(data["scale"])
        return cls(**data)


def parse_setting(text: str) -> tuple[str, Any]:
    """Read ``NAME=VALUE`` for any setting; two numbers are written ``256,384``.

    Raises ValueError for an unknown name or a value of another kind.
    """
    name, _, value = text.partition("=")
    name = name.strip().replace("-", "_")
    kinds = get_type_hints(TrainConfig)
    known = [f.name for f in dataclasses.fields(TrainConfig) if f.metadata]
    if name not in known:
        raise ValueError(f"no setting {name!r}; there are {', '.join(known)}")
    try:
        return name, _parse(kinds[name], value.strip())
    except ValueError as error:
        raise ValueError(f"{name} can't be {value!r}: {error}") from None


def _parse(kind: Any, text: str) -> Any:
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise ValueError("write true or false")
        return words[text.lower()]
    if kind in {int, float}:
        return kind(text)
    if kind == tuple[int, int]:
        first, second = text.split(",")
        return int(first), int(second)
    return text
