"""Sample sheets: what the model makes of a few training crops, as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model.classes import Classes
from model.codec import to_pixels
from model.inputs import network_input
from training.data import PairDataset
from training.state import TrainingState

ROWS = 6


def write_sheet(path: Path, state: TrainingState, dataset: PairDataset, classes: Classes) -> None:
    """Write a PNG with a row per example: label map, synthesised photograph, real photograph.

    Uses the averaged weights and styles encoded from the real photograph.
    """
    device = next(state.averaged.parameters()).device
    rows = []
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
        photo = to_pixels(fake[0].float().cpu().numpy())
        original = example["image"].numpy().transpose(1, 2, 0)
        rows.append(np.hstack([classes.colour(example["label"].numpy()), photo, original]))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(path)
