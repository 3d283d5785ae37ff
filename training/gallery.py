"""A run at a glance: one HTML file with its samples over time and its loss curves.

The file holds its pictures and loads nothing, so it can be sent to somebody as it is.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from training.files import replacing

GALLERY = "index.html"
MOMENTS = 8
"""At most so many checkpoints are shown, evenly spread and always with the last."""

_CURVE_WIDTH, _CURVE_HEIGHT = 320, 120

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }}
table {{ border-collapse: collapse }}
th {{ font-weight: normal; text-align: left; padding: 0 .5rem .25rem 0 }}
td {{ padding: 0 .5rem 0 0; vertical-align: top }}
img {{ display: block; max-width: 18rem }}
figure {{ display: inline-block; margin: 0 1.5rem 1.5rem 0 }}
polyline {{ fill: none; stroke: #06c; stroke-width: 1.5 }}
.wide {{ overflow-x: auto }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
<h2>Samples</h2>
<div class="wide"><table>
<tr>{heads}</tr>
<tr>{cells}</tr>
</table></div>
<h2>Losses</h2>
<p>Means since the checkpoint before, by images seen.</p>
{curves}
</html>
"""


def write_gallery(
    samples: Path, title: str, images: int, records: Sequence[Mapping[str, float]]
) -> Path:
    """Write ``samples``/index.html from the sheets in that folder and the records of progress.

    ``images`` is the length of the run. Raises OSError naming the file.
    """
    sheets = _spread([path for path in sorted(samples.glob("*.png")) if path.stem.isdecimal()])
    columns: list[tuple[str, str]] = []
    for path in sheets:
        with Image.open(path) as opened:
            label, fake, real = _thirds(opened.convert("RGB"))
        if not columns:
            columns = [("label map", _data(label, "PNG")), ("photograph", _data(real, "JPEG"))]
        columns.append((f"{int(path.stem):,} images", _data(fake, "JPEG")))
    last = records[-1] if records else {}
    page = _PAGE.format(
        title=escape(title),
        summary=(
            f"{int(last.get('images', 0)):,} of {images:,} images seen, "
            f"{last.get('images_per_s', 0.0):.3g} images per second."
        ),
        heads="".join(f"<th>{head}</th>" for head, _ in columns),
        cells="".join(f'<td><img alt="{head}" src="{data}"></td>' for head, data in columns),
        curves="\n".join(_curves(records)),
    )
    with replacing(samples / GALLERY) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return samples / GALLERY


def _spread(paths: list[Path]) -> list[Path]:
    if len(paths) <= MOMENTS:
        return paths
    step = (len(paths) - 1) / (MOMENTS - 1)
    return [paths[round(i * step)] for i in range(MOMENTS)]


def _thirds(sheet: Image.Image) -> list[Image.Image]:
    """Cut a sheet into its columns: maps, synthesised photographs, real ones."""
    width = sheet.width // 3
    return [sheet.crop((i * width, 0, (i + 1) * width, sheet.height)) for i in range(3)]


def _data(picture: Image.Image, kind: str) -> str:
    file = io.BytesIO()
    picture.save(file, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _curves(records: Sequence[Mapping[str, float]]) -> list[str]:
    """One drawing per loss, in SVG."""
    names = [name for name in (records[-1] if records else ()) if not name.startswith("images")]
    return [_curve(name, [(r["images"], r[name]) for r in records if name in r]) for name in names]


def _curve(name: str, points: list[tuple[float, float]]) -> str:
    right, top = points[-1][0], max(value for _, value in points)
    bottom = min(value for _, value in points)
    spread = (top - bottom) or 1.0
    line = " ".join(
        f"{_CURVE_WIDTH * x / right:.1f},{_CURVE_HEIGHT * (top - y) / spread:.1f}"
        for x, y in points
    )
    return (
        f"<figure><figcaption>{escape(name)}: {points[-1][1]:.4g} "
        f"(from {bottom:.4g} to {top:.4g})</figcaption>"
        f'<svg width="{_CURVE_WIDTH}" height="{_CURVE_HEIGHT}" role="img" '
        f'aria-label="{escape(name)}"><polyline points="{line}"/></svg></figure>'
    )
