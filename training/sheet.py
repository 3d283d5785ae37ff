"""Sample sheets: what the model makes of a few training crops, as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model.classes import Classes
from model.codec import to_pixels
from model.inputs import network_input
from training.data import PairDataset
from training.files import replacing
from training.state import TrainingState

ROWS = 6


def write_sheet(
    path: Path, state: TrainingState, dataset: PairDataset, classes: Classes
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Write a PNG with a row per example: label map, synthesised photograph, real photograph.

    Uses the averaged weights and styles encoded from the real photograph. Where sizes differ,
    the upper left part that all have in common is shown. Returns the synthesised and the real
    photographs, each (rows, H, W, 3).
    """
    device = next(state.averaged.parameters()).device
    maps, fakes, reals = [], [], []
    # Every example comes from the first round over the files, so all sheets show the same.
    for position in range(min(ROWS, len(dataset))):
        example = dataset[position]
        label, instance, index = (
            example[k][None].to(device) for k in ("label", "instance", "index")
        )
        real = example["image"][None].to(device).float().div(127.5).sub(1.0)
        with torch.no_grad():
            styles = state.averaged["encoder"](real, index) if state.encoder else None
            fake = state.averaged["generator"](network_input(state.input, label, instance, styles))
        maps.append(classes.colour(example["label"].numpy()))
        fakes.append(to_pixels(fake[0].float().cpu().numpy()))
        reals.append(example["image"].numpy().transpose(1, 2, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = np.min([real.shape[:2] for real in reals], axis=0)
    columns = [
        np.stack([picture[:height, :width] for picture in column])
        for column in (maps, fakes, reals)
    ]
    sheet = Image.fromarray(np.hstack([np.vstack(list(column)) for column in columns]))
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")
    return columns[1], columns[2]
