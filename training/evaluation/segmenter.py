"""A small segmenter that judges photographs: does every pixel still look like its label?

AlexNet's ImageNet features stay fixed: they are quick to compute and no loss of the generator is
built on them, so it cannot learn to please this judge. A decoder, with a branch of its own at
half resolution for fine borders, learns the classes from real photographs.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from model.classes import read_classes
from model.codec import NO_CLASS, check_label_map
from model.errors import MapError
from model.image_io import read_label_map, read_photo
from training.data import Pair, RunOrder, find_pairs
from training.evaluation.lpips import AlexNet, load_alexnet

STRIDE = 16
"""Pixels per cell of the deepest features; sizes must be multiples of it."""
_MARGIN = 8
"""Pixels added around the image, so that relu5 has exactly one cell per 16x16 pixels."""
_GROUPS = 8
"""Groups of the group norms."""


@dataclass(frozen=True)
class SegmenterConfig:
    """Settings of one training; they are saved beside the weights."""

    data: str
    """Folder with label/, image/ and classes.json."""
    steps: int = 2_500
    batch: int = 4
    """Images per step."""
    size: int = 256
    """Side in pixels of the training crops, which show 2/3 to all of a photo's shorter side."""
    width: int = 32
    """Channels of the finest features; the coarser ones have twice as many."""
    learning_rate: float = 3e-3
    """Of the first step; it falls linearly to zero."""
    seed: int = 0
    checkpoint_every: int = 200
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        """Refuse sizes and widths that the network cannot divide."""
        for name, value, multiple in (
            ("size", self.size, STRIDE),
            ("width", self.width, _GROUPS),
            ("steps", self.steps, 1),
        ):
            if value < 1 or value % multiple:
                raise ValueError(f"{name} is {value}; it must be a positive multiple of {multiple}")


class Segmenter(nn.Module):
    """A feature pyramid over AlexNet's relu5, relu2 and relu1 and a learned half-size branch."""

    def __init__(self, classes: tuple[str, ...], width: int, backbone: AlexNet) -> None:
        super().__init__()
        self.classes = classes
        self.backbone = backbone.requires_grad_(False)
        self.stem = _block(3, width, stride=2)
        wide = 2 * width
        self.lateral = nn.ModuleList(
            nn.Conv2d(channels, out, 1)
            for channels, out in ((256, wide), (192, wide), (64, wide), (width, width))
        )
        self.merge = nn.ModuleList(
            _block(channels, out)
            for channels, out in ((wide, wide), (wide, wide), (wide, width), (width, width))
        )
        self.head = nn.Conv2d(width, len(classes), 1)

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (N, classes, H/2, W/2) of ``image`` (N, 3, H, W) in [-1, 1].

        H and W must be multiples of 16.
        """
        height, width = image.shape[2:]
        taps = self.backbone(F.pad(image, (_MARGIN,) * 4, mode="replicate"))
        # The margin and AlexNet's own padding shift the finer features; these windows undo it.
        relu1 = taps[0][..., 1 : height // 4 + 1, 1 : width // 4 + 1]
        relu2 = taps[1][..., : height // 8, : width // 8]
        x = self.lateral[0](taps[4])
        finer = (relu2, relu1, self.stem(image))
        for features, lateral, merge in zip(finer, self.lateral[1:], self.merge, strict=False):
            x = F.interpolate(merge(x), scale_factor=2, mode="bilinear") + lateral(features)
        scores: Tensor = self.head(self.merge[-1](x))
        return scores

    @torch.no_grad()
    def predict(self, image: Tensor) -> Tensor:
        """Class ids (N, H, W) uint8 of ``image`` (N, 3, H, W) in [-1, 1], of any size."""
        height, width = image.shape[2:]
        padded = F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        scores = F.interpolate(self(padded), scale_factor=2, mode="bilinear")
        return scores[..., :height, :width].argmax(1).to(torch.uint8)


class RandomCrops(Dataset[tuple[Tensor, Tensor]]):
    """Random square crops of the pairs; item i is the i-th image of the training, not a file."""

    def __init__(self, pairs: list[Pair], label_count: int, size: int, seed: int) -> None:
        self.pairs, self.label_count, self.size, self.seed = pairs, label_count, size, seed

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """Return a photo (3, size, size) uint8 and its labels (size, size) uint8, 255 = no class.

        Raises MapError naming the file.
        """
        epoch, place = divmod(position, len(self.pairs))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.pairs))
        photo, label = self._load(self.pairs[order[place]])
        rng = np.random.default_rng((self.seed, 1, position))
        side = min(photo.size) * rng.uniform(2 / 3, 1)
        left, top = (rng.uniform(0, length - side) for length in photo.size)
        flip = -1 if rng.random() < 0.5 else 1

        def cut(image: Image.Image, resample: Image.Resampling) -> NDArray[np.uint8]:
            box = (left, top, left + side, top + side)
            resized = np.asarray(image.resize((self.size, self.size), resample, box))
            return resized[:, ::flip].copy()

        pixels = torch.from_numpy(cut(photo, Image.Resampling.BICUBIC))
        return pixels.permute(2, 0, 1), torch.from_numpy(cut(label, Image.Resampling.NEAREST))

    def _load(self, pair: Pair) -> tuple[Image.Image, Image.Image]:
        label = read_label_map(pair.label)
        label = check_label_map(label, self.label_count, (NO_CLASS,), str(pair.label))
        photo = read_photo(pair.image)
        if photo.shape[:2] != label.shape:
            raise MapError(
                "SIZE_MISMATCH",
                f"{pair.image}: {photo.shape[1]}x{photo.shape[0]} pixels, but {pair.label} has "
                f"{label.shape[1]}x{label.shape[0]}",
            )
        return Image.fromarray(photo), Image.fromarray(label)


def train_segmenter(
    config: SegmenterConfig,
    weights: Path,
    out: Path,
    device: str = "cpu",
    workers: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> Segmenter:
    """Train on the pairs of ``config.data``; write ``out`` (.safetensors) and its .json.

    ``weights`` is the folder with AlexNet's file; ``on_step`` gets the steps done and the loss.
    The same call resumes an interrupted training from ``out``'s .checkpoint, and loads the result
    of a finished one. Raises ValueError if that was made with other settings, and whatever
    ``find_pairs``, ``read_classes`` and ``load_alexnet`` raise.
    """
    # Set up; a finished training needs nothing more.
    if out.suffix != ".safetensors":
        raise ValueError(f"{out}: the name of a segmenter's file must end in .safetensors")
    if out.exists():
        _check_same(_read_description(out).get("config", {}), config, out)
        return load_segmenter(out).to(device)
    data = Path(config.data)
    classes = read_classes(data / "classes.json")
    crops = RandomCrops(find_pairs(data), len(classes), config.size, config.seed)
    torch.manual_seed(config.seed)
    network = Segmenter(classes.names, config.width, load_alexnet(weights)).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(p for p in network.parameters() if p.requires_grad)
    checkpoint = out.with_suffix(".checkpoint")
    start = _resume(checkpoint, config, network, optimizer) if checkpoint.exists() else 0
    out.parent.mkdir(parents=True, exist_ok=True)

    # Which crops a step sees depends on its number alone, so a resumed training sees the same.
    order = RunOrder(start * config.batch, config.steps * config.batch, config.batch)
    loader = DataLoader(crops, batch_sampler=order, num_workers=workers)
    bar = tqdm(loader, initial=start, total=config.steps, unit="step", dynamic_ncols=True)
    for step, (photo, truth) in enumerate(bar, start + 1):
        optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - (step - 1) / config.steps)
        image = photo.to(device, memory_format=torch.channels_last)
        # Scores have half the photo's size: every second label is theirs.
        label = truth[:, ::2, ::2].to(device).long()
        loss = F.cross_entropy(network(image / 127.5 - 1), label, ignore_index=NO_CLASS)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

        # Report and checkpoint.
        bar.set_postfix(loss=f"{loss.item():.3f}")
        if step % config.checkpoint_every == 0 and step < config.steps:
            _save_checkpoint(checkpoint, config, network, optimizer, step)
        if on_step:
            on_step(step, loss.item())

    _write(out, network, config)
    checkpoint.unlink(missing_ok=True)
    return network.eval()


def load_segmenter(path: Path) -> Segmenter:
    """Load a segmenter written by ``train_segmenter``; raises FileNotFoundError, ValueError."""
    description = _read_description(path)
    try:
        network = Segmenter(
            tuple(description["classes"]), description["config"]["width"], AlexNet()
        )
        network.load_state_dict(load_file(path))
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{path}: does not fit its .json file: {error}") from error
    return network.eval()


def _block(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        nn.GroupNorm(_GROUPS, out_channels),
        nn.ReLU(),
    )


def _resume(
    path: Path, config: SegmenterConfig, network: Segmenter, optimizer: torch.optim.Optimizer
) -> int:
    """Restore what ``_save_checkpoint`` saved; return the number of steps done."""
    saved: dict[str, Any] = torch.load(path, weights_only=True)
    _check_same(saved["config"], config, path)
    network.load_state_dict(saved["network"])
    optimizer.load_state_dict(saved["optimizer"])
    return int(saved["step"])


def _save_checkpoint(
    path: Path,
    config: SegmenterConfig,
    network: Segmenter,
    optimizer: torch.optim.Optimizer,
    step: int,
) -> None:
    saved = {
        "config": dataclasses.asdict(config),
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
    }
    _replace(path, lambda part: torch.save(saved, part))


def _write(out: Path, network: Segmenter, config: SegmenterConfig) -> None:
    description = {"classes": network.classes, "config": dataclasses.asdict(config)}
    text = json.dumps(description, indent=2) + "\n"
    state = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    # The weights come last: where they are, the description is complete.
    _replace(out.with_suffix(".json"), lambda part: part.write_text(text, encoding="utf-8"))
    _replace(out, lambda part: save_file(state, part))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read_description(path: Path) -> dict[str, Any]:
    """Read the .json beside a segmenter's weights."""
    description: dict[str, Any] = json.loads(path.with_suffix(".json").read_text("utf-8"))
    return description


def _check_same(saved: dict[str, Any], config: SegmenterConfig, path: Path) -> None:
    wanted = dataclasses.asdict(config)
    changed = [name for name in wanted if saved.get(name) != wanted[name]]
    if changed:
        name = changed[0]
        raise ValueError(
            f"{path}: was made with {name} {saved.get(name)!r}, not {wanted[name]!r}; "
            "train with the same settings, into another file, or delete it first"
        )
