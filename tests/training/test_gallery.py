from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.gallery import MOMENTS, write_gallery


class Page(HTMLParser):
    """Collects what a page shows and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag, and a picture's attributes."""
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        """Collect the words."""
        self.text += data


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Sheets of twenty checkpoints: a grey map, a brightening synthesis, a white photograph."""
    for moment in range(1, 21):
        columns = [np.full((8, 8, 3), level, np.uint8) for level in (128, 10 * moment, 255)]
        Image.fromarray(np.hstack(columns)).save(tmp_path / f"{100 * moment:08d}.png")
    return tmp_path


def read(path: Path) -> Page:
    """Parse a page."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def level(source: str | None) -> int:
    """Grey level of a picture written into the page."""
    assert source is not None
    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
        assert picture.size == (8, 8)
        return int(np.asarray(picture.convert("L")).mean())


def test_the_page_shows_samples_over_time(samples: Path) -> None:
    """Label map, photograph, then some moments from the first to the last."""
    page = read(write_gallery(samples, "run", 2000, []))
    names = [image["alt"] for image in page.images]
    assert names[:3] == ["label map", "photograph", "100 images"]
    assert names[-1] == "2,000 images"
    assert len(names) == 2 + MOMENTS
    levels = [level(image["src"]) for image in page.images]
    assert levels[:2] == [128, 255]
    assert levels[2:] == sorted(levels[2:])
    assert abs(levels[-1] - 200) <= 2


def test_the_page_draws_every_loss(samples: Path) -> None:
    """One curve per loss, from left to right, with its last value in words."""
    records = [
        {"images": 100 * i, "images_per_s": 5.0, "matching": 10.0 / i, "l1": 1.0} for i in (1, 2, 4)
    ]
    text = write_gallery(samples, "run", 400, records).read_text(encoding="utf-8")
    curves = re.findall(r'<polyline points="([^"]+)"', text)
    assert len(curves) == 2
    points = [tuple(map(float, point.split(","))) for point in curves[0].split()]
    assert [x for x, _ in points] == [80, 160, 320]
    assert [y for _, y in points] == sorted(y for _, y in points)  # down the page, as the loss
    assert "matching: 2.5" in text
    assert "400 of 400 images seen, 5 images per second" in text


def test_the_page_loads_nothing(samples: Path) -> None:
    """It can be sent to somebody as one file: no script, no link to anything outside."""
    path = write_gallery(samples, "<run>", 2000, [])
    page = read(path)
    assert {"script", "link", "iframe"}.isdisjoint(page.tags)
    assert all(str(image["src"]).startswith("data:image/") for image in page.images)
    assert "//" not in re.sub(r'src="data:[^"]*"', "", path.read_text(encoding="utf-8"))
    assert "<run>" in page.text


def test_a_run_without_samples_has_a_page(tmp_path: Path) -> None:
    """Nothing to show is no error."""
    assert "0 of 10 images" in read(write_gallery(tmp_path, "run", 10, [])).text
