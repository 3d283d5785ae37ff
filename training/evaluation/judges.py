"""Segmenters that can judge photographs: our own, an ONNX file, or a model of Hugging Face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from model.codec import NO_CLASS
from model.onnx_segmenter import OnnxSegmenter
from training.evaluation.segmenter import Segmenter, load_segmenter

Photos = NDArray[np.uint8]
"""(N, H, W, 3) RGB of any size."""


class AnySegmenter(Protocol):
    """What finds classes in photographs."""

    classes: tuple[str, ...]
    """Names by id; empty = the data set's own."""

    def segment(self, photos: Photos) -> NDArray[np.uint8]:
        """Return class ids (N, H, W)."""
        ...


@dataclass(frozen=True)
class Judge:
    """A segmenter whose classes have been matched with those of a data set."""

    names: tuple[str, ...]
    """Classes of the data set."""
    unknown: tuple[int, ...]
    """Those of them that the segmenter does not know."""
    segmenter: AnySegmenter
    table: NDArray[np.uint8]
    """(256,) the segmenter's class id -> the data set's, 255 = none of them."""

    def predict(self, photos: Photos) -> NDArray[np.uint8]:
        """Classes (N, H, W) of the data set in photographs; 255 = something else."""
        return self.table[self.segmenter.segment(photos)]


def open_judge(source: str | Path, names: tuple[str, ...], device: str = "cpu") -> Judge:
    """Open a segmenter for data of the classes ``names``.

    ``source`` is a .safetensors file of ``hdsynth train-segmenter``, an .onnx file, or else the
    id or folder of a Hugging Face semantic segmentation model. Classes are matched by name,
    whatever its case and punctuation. Raises FileNotFoundError, ValueError for files that are
    none of these or know none of the classes, ImportError naming the extra.
    """
    kinds: dict[str, Callable[[], AnySegmenter]] = {
        ".safetensors": lambda: OwnSegmenter(load_segmenter(Path(source)), device),
        ".onnx": lambda: OnnxSegmenter(Path(source)),
    }
    open_it = kinds.get(Path(source).suffix, lambda: HuggingFaceSegmenter(str(source), device))
    return match_classes(open_it(), names, str(source))


def match_classes(segmenter: AnySegmenter, names: tuple[str, ...], source: str) -> Judge:
    """Match a segmenter's classes with those of a data set. Raises ValueError if none fits."""
    own = [_plain(name) for name in segmenter.classes or names]
    if len(own) > NO_CLASS:
        raise ValueError(f"{source}: has {len(own)} classes; at most {NO_CLASS} can be judged")
    wanted = {_plain(name): label for label, name in enumerate(names)}
    table = np.full(256, NO_CLASS, np.uint8)
    for index, name in enumerate(own):
        table[index] = wanted.get(name, NO_CLASS)
    unknown = tuple(label for name, label in wanted.items() if name not in own)
    if len(unknown) == len(names):
        raise ValueError(
            f"{source}: knows none of the data set's classes ({', '.join(names)}); it knows "
            f"{', '.join(segmenter.classes)}"
        )
    return Judge(names, unknown, segmenter, table)


class OwnSegmenter:
    """A segmenter that ``hdsynth train-segmenter`` has trained."""

    def __init__(self, network: Segmenter, device: str = "cpu") -> None:
        self.classes, self._network, self._device = network.classes, network.to(device), device

    def segment(self, photos: Photos) -> NDArray[np.uint8]:
        """Return class ids (N, H, W)."""
        image = torch.from_numpy(photos).to(self._device).permute(0, 3, 1, 2) / 127.5 - 1
        return self._network.predict(image).cpu().numpy()


class HuggingFaceSegmenter:
    """A semantic segmentation model of Hugging Face, such as SegFormer or UPerNet."""

    def __init__(self, source: str, device: str = "cpu") -> None:
        """Load a model by its id or from a folder.

        Raises ImportError naming the extra, ValueError for anything that is no such model.
        """
        try:
            from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
        except ImportError as error:
            raise ImportError(
                f"{source}: models of Hugging Face need pip install 'hdsynth[huggingface]'"
            ) from error
        try:
            self._processor = AutoImageProcessor.from_pretrained(source)  # type: ignore[no-untyped-call]
            network = AutoModelForSemanticSegmentation.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{source}: is no .safetensors or .onnx file, and no semantic segmentation model "
                f"of Hugging Face that can be loaded: {error}"
            ) from error
        self._network, self._device = network.eval().to(device), device
        labels = network.config.id2label
        self.classes = tuple(labels[i] for i in range(len(labels)))

    def segment(self, photos: Photos) -> NDArray[np.uint8]:
        """Return class ids (N, H, W)."""
        pixels = self._processor(images=[*photos], return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            scores = self._network(pixel_values=pixels.to(self._device)).logits
        # The processor has brought the photographs to the model's own size.
        scores = F.interpolate(scores, size=photos.shape[1:3], mode="bilinear")
        return scores.argmax(1).to(torch.uint8).cpu().numpy()


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
