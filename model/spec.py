"""What a network is, as plain data: frozen dataclasses that travel in bundles and checkpoints.

Nothing here imports torch, so a server that runs on ONNX Runtime or TensorRT can read them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Norm = Literal["instance", "batch"]
GeneratorKind = Literal["global", "local", "unet", "cascade"]
T = TypeVar("T")


@dataclass(frozen=True)
class InputSpec:
    """What the channels of the generator's input are, in order.

    Order: one-hot labels (or the source image when ``label_count`` is 0), edge map, style map
    (pix2pixHD's published order).
    """

    label_count: int
    """Number of label classes; a label map holds 0 .. label_count - 1."""
    edges: bool = True
    """Whether one channel marks the borders between instances."""
    style_channels: int = 0
    """Width of the style code painted over every instance; 0 = the model has no styles."""
    image_channels: int = 3
    """Channels of the source image, 1 (grey) or 3 (RGB), used only when ``label_count`` is 0."""

    def __post_init__(self) -> None:
        """Refuse counts that the integer inputs cannot carry."""
        if not 0 <= self.label_count <= 255:
            raise ValueError(
                f"label_count is {self.label_count}; it must lie in 0..255, because labels "
                "travel as bytes and 255 is kept for 'no class'"
            )
        if self.image_channels not in {1, 3}:
            raise ValueError(
                f"image_channels is {self.image_channels}; a source image is grey (1) or RGB (3)"
            )

    @property
    def channels(self) -> int:
        """Total number of input channels of the generator."""
        return (self.label_count or self.image_channels) + int(self.edges) + self.style_channels


@dataclass(frozen=True)
class GeneratorSpec:
    """A generator of the paper (section 3.2) or one of its baselines.

    ``global`` is G1, ``local`` G2 with its enhancers, ``unet`` that of pix2pix and ``cascade`` the
    cascaded refinement network.
    """

    kind: GeneratorKind
    input_channels: int
    output_channels: int = 3
    width: int = 64
    """Channels of the first layer at full resolution (``ngf`` in the reference)."""
    downsamplings: int = 4
    """How often the global trunk, or a baseline, halves the size."""
    blocks: int = 9
    """Residual blocks of the global trunk; the baselines have none."""
    enhancers: int = 0
    """Local enhancers around the trunk; 0 but for ``local``."""
    enhancer_blocks: int = 0
    """Residual blocks of each enhancer; 3 as published, 0 but for ``local``."""
    norm: Norm = "instance"

    def __post_init__(self) -> None:
        """Refuse combinations that describe no network."""
        if (self.kind == "local") != (self.enhancers > 0):
            raise ValueError(
                f"generator kind {self.kind!r} with {self.enhancers} enhancers: "
                "'local' has at least one, the others none"
            )

    @property
    def size_multiple(self) -> int:
        """Height and width must be multiples of this many pixels."""
        return int(2 ** (self.downsamplings + self.enhancers))

    @property
    def minimum_side(self) -> int:
        """Smallest legal height or width in pixels.

        The bottleneck must be 2x2 or larger, but for the U-Net, whose innermost features are 1x1.
        """
        return self.size_multiple * (1 if self.kind == "unet" else 2)


@dataclass(frozen=True)
class EncoderSpec:
    """The style encoder with instance-wise average pooling, paper section 3.4."""

    input_channels: int = 3
    output_channels: int = 3
    width: int = 16
    downsamplings: int = 4
    norm: Norm = "instance"
    reflect_output: bool = True
    """False for early checkpoints whose last convolution has zero padding of its own."""

    @property
    def size_multiple(self) -> int:
        """Height and width must be multiples of this many pixels to come back unchanged."""
        return int(2**self.downsamplings)


@dataclass(frozen=True)
class DiscriminatorSpec:
    """The multi-scale PatchGAN discriminator, paper section 3.2."""

    input_channels: int
    width: int = 64
    layers: int = 3
    scales: int = 2
    norm: Norm = "instance"
    padding: int = 2
    """Of every convolution in pixels; pix2pix has 1."""
    intermediate_features: bool = True
    """Whether each scale returns its inner features (needed for feature matching)."""


def spec_from_dict(cls: type[T], data: Mapping[str, Any]) -> T:
    """Build a spec dataclass from JSON data, refusing unknown and missing fields by name.

    Raises ValueError naming the field.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ValueError(f"{cls.__name__} does not know {', '.join(unknown)}")
    required = {n for n, f in fields.items() if f.default is dataclasses.MISSING}
    missing = sorted(required - set(data))
    if missing:
        raise ValueError(f"{cls.__name__} lacks {', '.join(missing)}")
    return cls(**data)
