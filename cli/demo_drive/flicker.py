"""How much the photographs of a drive flicker, without and with ``steady``."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cli.demo_drive.drive import Drive, drive
from cli.demo_drive.render import Pose, Renderer
from model.flicker import Shot, flicker, sharpness

if TYPE_CHECKING:
    from hdsynth_client.stream_config import StreamConfig

HEAD = """# Flicker on the drive

Mean absolute change of a colour value from one photograph to the next, in grey levels (0..255), of
the pixels that show the same object in both frames. The camera moves, so that what stands on an
object moves too: that share is the same in both rows. Sharpness is the mean absolute Laplacian of
the grey photograph. Written by `hdsynth demo drive --flicker FILE`.

"""


def compare(
    address: str, key: str | None, config: StreamConfig, renderer: Renderer, poses: list[Pose]
) -> str:
    """Drive the poses twice; returns the table as Markdown. ``config`` asks for all frames."""
    from hdsynth_client.stream import open_stream

    rows = []
    for steady in (False, True):
        with open_stream(address, replace(config, steady=steady), key=key) as stream:
            found = drive(stream, renderer, poses, fps=120)
        name = "with `steady`" if steady else "without `steady`"
        rows.append(f"| {name} | {_flicker(found):.2f} | {_sharpness(found):.2f} |\n")
    metres = poses[1].y - poses[0].y
    what = f"{len(poses)} frames, {metres:.2f} m from frame to frame.\n\n"
    return HEAD + what + "| | flicker | sharpness |\n|---|---|---|\n" + "".join(rows)


def _flicker(found: Drive) -> float:
    shots = [
        Shot(found.sent[number].label, found.sent[number].instance, photo)
        for number, photo in found.photos.items()
    ]
    return float(np.mean([flicker(*pair) for pair in itertools.pairwise(shots)]))


def _sharpness(found: Drive) -> float:
    return float(np.mean([sharpness(photo) for photo in found.photos.values()]))
