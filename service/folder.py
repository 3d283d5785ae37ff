"""Synthesise many files: reading and writing overlap with the engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from model.errors import MapError
from model.image_io import read_instance_map, read_label_map, read_source, write_photo
from model.spec import InputSpec
from model.styles import StyleChoice
from service.synthesizer import Scene, Synthesizer

AHEAD = 4
"""Scenes read before the engine takes them, and photographs waiting to be written."""
SHEET_TILE = 256
SHEET_COLUMNS = 4


@dataclass(frozen=True)
class Job:
    """One photograph to make."""

    label: Path
    """Label map, or the source image of a model without labels."""
    instance: Path | None
    choice: StyleChoice
    output: Path


def synthesize_files(
    synthesizer: Synthesizer,
    jobs: list[Job],
    quality: int = 95,
    sheet: Path | None = None,
) -> list[MapError]:
    """Make every photograph, with a progress bar; returns the errors of unusable maps.

    ``sheet`` names a PNG contact sheet to write: label map beside photograph, for each job.
    Raises OSError when a photograph cannot be written.
    """
    failed: list[MapError] = []
    tiles: list[NDArray[np.uint8]] = []
    with ThreadPoolExecutor(2) as readers, ThreadPoolExecutor(2) as writers:
        writing: deque[Future[None]] = deque()
        scenes = _ahead(readers, synthesizer, jobs)
        for job, scene in tqdm(scenes, total=len(jobs), unit="photo", dynamic_ncols=True):
            if isinstance(scene, MapError):
                failed.append(scene)
                continue
            (photo,) = synthesizer.run([scene])
            writing.append(writers.submit(write_photo, job.output, photo, quality))
            if sheet:
                tiles.append(_tile(synthesizer, scene, photo))
            if len(writing) > AHEAD:
                writing.popleft().result()
        for pending in writing:
            pending.result()
    if sheet and tiles:
        write_photo(sheet, _grid(tiles))
    return failed


def _ahead(
    readers: ThreadPoolExecutor, synthesizer: Synthesizer, jobs: list[Job]
) -> Iterator[tuple[Job, Scene | MapError]]:
    """Read scenes in order, a few ahead of the engine."""

    def read(job: Job) -> tuple[Job, Scene | MapError]:
        try:
            label = _read_input(job.label, synthesizer.bundle.input)
            instance = read_instance_map(job.instance) if job.instance else None
            return job, synthesizer.prepare(label, instance, job.choice, name=str(job.label))
        except MapError as error:
            return job, error

    waiting: Iterable[Job] = iter(jobs)
    reading = deque(readers.submit(read, job) for job in islice(waiting, AHEAD))
    while reading:
        done = reading.popleft().result()
        reading.extend(readers.submit(read, job) for job in islice(waiting, 1))
        yield done


def _read_input(path: Path, spec: InputSpec) -> NDArray[np.integer]:
    """Read what the model starts from: a label map (H, W) or a source image (H, W, C)."""
    return read_label_map(path) if spec.label_count else read_source(path, spec.image_channels)


def _tile(synthesizer: Synthesizer, scene: Scene, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Label map in display colours, or source image, beside its photograph, at sheet height."""
    pair = np.hstack([synthesizer.bundle.classes.colour(scene.maps.label), photo])
    width = round(pair.shape[1] * SHEET_TILE / pair.shape[0])
    return np.asarray(Image.fromarray(pair).resize((width, SHEET_TILE), Image.Resampling.BOX))


def _grid(tiles: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Lay tiles of equal height and any width out in rows on white."""
    width = max(tile.shape[1] for tile in tiles)
    columns = min(len(tiles), max(1, SHEET_COLUMNS * 2 * SHEET_TILE // width))
    rows = -(-len(tiles) // columns)
    grid = np.full((rows * SHEET_TILE, columns * width, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        top, left = row * SHEET_TILE, column * width
        grid[top : top + SHEET_TILE, left : left + tile.shape[1]] = tile
    return grid
