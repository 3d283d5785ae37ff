"""Every setting of a training run, in one frozen dataclass that is saved beside its checkpoints."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run. Lengths are counted in images, so batch size never changes them."""

    data: str
    """Folder with label/, image/ and (optional) instance/ of equally named files."""
    images: int = 20_000
    """Training length in images seen."""
    decay: float = 0.5
    """Share of the run, at its end, over which the learning rate falls linearly to zero."""
    batch: int = 1
    """Images per step."""
    crop: int = 256
    """Side of the square training crops in pixels; a multiple of the generator's size rule."""
    scale: tuple[int, int] = (256, 384)
    """Every photo is resized to a random shorter side in this range before cropping."""
    width: int = 32
    """Channels of the generator at full resolution."""
    downsamplings: int = 3
    blocks: int = 6
    styles: int = 3
    """Channels of the style code per instance; 0 = no style encoder."""
    discriminator_width: int = 32
    discriminator_scales: int = 2
    feature_matching: float = 10.0
    """Weight of the feature-matching loss (paper equation 5)."""
    perceptual: float = 10.0
    """Weight of the perceptual loss; needs perceptual_weights."""
    perceptual_weights: str | None = None
    """Folder with the perceptual networks' weights; None = no perceptual loss."""
    perceptual_vgg16: bool = True
    """Whether VGG16 compares beside SqueezeNet; False is much faster on a CPU."""
    colour: float = 0.0
    """Weight of the L1 distance between the photographs averaged over 8x8 pixels."""
    learning_rate: float = 2e-4
    ema_images: int = 2_000
    """Half-life of the averaged weights that are shipped, in images."""
    init: str | None = None
    """Run folder whose networks this run starts from (with fresh optimisers)."""
    precision: str = "float32"
    """float32 or bfloat16 autocast; bfloat16 pays off where the processor computes it natively."""
    seed: int = 0
    checkpoint_every: int = 1_000
    """Images between checkpoints and sample sheets."""
    workers: int = 1
    """Processes that load and crop images."""
    device: str = "auto"
    """cpu, cuda, or auto = cuda where there is one."""

    def save(self, path: Path) -> None:
        """Write the settings as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> TrainConfig:
        """Read settings saved by ``save``; raises TypeError on an unknown field."""
        data = json.loads(path.read_text(encoding="utf-8"))
        data["scale"] = tuple(data["scale"])
        return cls(**data)
