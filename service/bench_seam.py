"""How well a region that is synthesised alone fits into the photograph of the whole scene."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np
from hdsynth.v1 import synthesis_pb2 as pb
from numpy.typing import NDArray

from model.scenes import Scene as Drawing
from model.scenes import draw_scene
from model.styles import StyleChoice
from service.stream_frames import StreamMaps, number_scene
from service.stream_styles import StyleMemory
from service.synthesizer import Scene, Synthesizer

RIM = 2
"""Pixels along a region's border that count as the seam."""
_REGIONS = 6
"""Regions of every scene."""


@dataclass(frozen=True)
class Seam:
    """Differences from the same pixels of the whole photograph, in grey levels."""

    frozen: bool
    inside: float
    """Mean over the region."""
    seam: float
    """Mean along its border."""
    largest: float
    """The largest mean of a pixel's three channels along any border."""


def region_side(size: tuple[int, int]) -> int:
    """Return the side of the regions of scenes of (width, height), in pixels."""
    return min(96, min(size) // 2)


def bench_seam(
    synthesizer: Synthesizer, size: tuple[int, int], seeds: int, *, can_freeze: bool
) -> list[Seam]:
    """Compare regions of drawn scenes at (width, height) with the whole photographs.

    ``can_freeze`` tells whether the engine looks at scene keys; then regions are also synthesised
    with the statistics of the whole photograph.
    """
    ways = (False, True) if can_freeze else (False,)
    return [_measure(synthesizer, size, seeds, frozen) for frozen in ways]


def markdown(rows: list[Seam], about: str) -> str:
    """Write the rows as a table."""
    lines = [
        about,
        "",
        "| statistics | inside the region | along its border | largest along a border |",
        "|---|---|---|---|",
        *(
            f"| {'of the whole photograph' if row.frozen else 'as the model takes them'} | "
            f"{row.inside:.2f} | {row.seam:.2f} | {row.largest:.1f} |"
            for row in rows
        ),
    ]
    return "\n".join([*lines, ""])


def _measure(synthesizer: Synthesizer, size: tuple[int, int], seeds: int, frozen: bool) -> Seam:
    apart = [
        difference
        for seed in range(seeds)
        for difference in _differences(synthesizer, draw_scene(*size, seed), seed, frozen)
    ]
    rims = [np.concatenate([_rim(d), _rim(d.T)]) for d in apart]
    return Seam(
        frozen,
        float(np.mean(apart)),
        float(np.mean([rim.mean() for rim in rims])),
        float(max(rim.max() for rim in rims)),
    )


def _differences(
    synthesizer: Synthesizer, drawing: Drawing, seed: int, frozen: bool
) -> list[NDArray[np.float64]]:
    """Return one (H, W) map of differences for every region of a scene."""
    bundle, rng = synthesizer.bundle, np.random.default_rng(seed)
    height, width = drawing.label.shape
    side = region_side((width, height))
    maps, memory = StreamMaps(bundle, height * width), StyleMemory(bundle)
    maps.apply(_frame(drawing))
    key = secrets.randbits(62) if frozen else 0

    def photograph(message: pb.Frame) -> NDArray[np.uint8]:
        view = maps.view(message, "raw")
        numbered = number_scene(view, bundle)
        codes, _ = memory.table(numbered, StyleChoice(seed))
        (photo,) = synthesizer.run([Scene(numbered, codes, key)])
        return photo[view.inner]

    whole = photograph(pb.Frame()).astype(np.int16)
    found = []
    for _ in range(_REGIONS):
        x, y = (int(rng.integers(0, length - side)) for length in (width, height))
        part = photograph(pb.Frame(region=pb.Rectangle(x=x, y=y, width=side, height=side)))
        found.append(np.abs(whole[y : y + side, x : x + side] - part).mean(2))
    return found


def _rim(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what lies along the upper and the lower border."""
    return np.concatenate([difference[:RIM].ravel(), difference[-RIM:].ravel()])


def _frame(drawing: Drawing) -> pb.Frame:
    label, instance = drawing.label, drawing.instance
    height, width = label.shape
    raw = {"encoding": pb.MAP_ENCODING_RAW, "width": width, "height": height}
    return pb.Frame(
        label=pb.Map(element_type=pb.ELEMENT_TYPE_UINT8, data=label.tobytes(), **raw),
        instance=pb.Map(element_type=pb.ELEMENT_TYPE_UINT16, data=instance.tobytes(), **raw),
    )
