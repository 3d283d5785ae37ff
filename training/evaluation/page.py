"""The report of an evaluation: one HTML file that holds its pictures, worst scenes first."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from model.classes import Classes

if TYPE_CHECKING:
    from training.evaluation.report import Scores

TEMPLATE = Path(__file__).with_name("page.html")
JPEG_QUALITY = 85
WIDTH = 320
"""Widest picture in pixels."""


@dataclass(frozen=True)
class Picture:
    """One picture of the page."""

    caption: str
    source: str
    """A data: URL."""


class Page:
    """Collects the pictures of every scene, then writes the page."""

    def __init__(self, classes: Classes | None) -> None:
        self._classes = classes
        self._pictures: dict[str, list[Picture]] = {}

    def add(
        self,
        name: str,
        label: NDArray[np.uint8] | None,
        both: NDArray[np.uint8],
        predicted: NDArray[np.uint8] | None,
    ) -> None:
        """Add a scene: label map (H, W), both photographs, what is found in them (2, H, W).

        The photographs (2, H, W, 3) are the synthesised and the real one.
        """
        shown = []
        if label is not None:
            shown.append(self._map("label map", label))
        shown += [_photo("real", both[1]), _photo("generated", both[0])]
        if predicted is not None:
            shown.append(self._map("found in generated", predicted[0]))
            shown.append(self._map("found in real", predicted[1]))
        self._pictures[name] = shown

    def write(self, path: Path, scores: Scores, title: str) -> None:
        """Write the page."""
        environment = Environment(autoescape=True, undefined=StrictUndefined,
                                  trim_blocks=True, lstrip_blocks=True)  # fmt: skip
        environment.filters["number"] = _number
        template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
        colours = self._classes.palette if self._classes else ()
        text = template.render(
            title=title,
            scores=scores,
            rows=[*zip(scores.classes, colours, strict=False)],
            pictures=self._pictures,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _map(self, caption: str, ids: NDArray[np.uint8]) -> Picture:
        assert self._classes is not None
        image = Image.fromarray(self._classes.colour(ids))
        image = _fitting(image, Image.Resampling.NEAREST).quantize(256)
        return Picture(caption, _data_url(image, "PNG", optimize=True))


def _photo(caption: str, pixels: NDArray[np.uint8]) -> Picture:
    image = _fitting(Image.fromarray(pixels), Image.Resampling.LANCZOS)
    return Picture(caption, _data_url(image, "JPEG", quality=JPEG_QUALITY))


def _fitting(image: Image.Image, resample: Image.Resampling) -> Image.Image:
    if image.width <= WIDTH:
        return image
    return image.resize((WIDTH, max(1, round(image.height * WIDTH / image.width))), resample)


def _data_url(image: Image.Image, format_: str, **options: int) -> str:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return f"data:image/{format_.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
