"""What a run tells about itself at every checkpoint: numbers, sample sheets and alarms."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from model.classes import Classes
from training.alarms import collapse_alarm, discriminator_alarm
from training.board import Board
from training.config import TrainConfig
from training.data import PairDataset
from training.files import replacing
from training.gallery import write_gallery
from training.sheet import write_sheet
from training.state import TrainingState

PROGRESS = "progress.jsonl"
SAMPLES = "samples"


class Journal:
    """Writes progress.jsonl, samples/ and tensorboard/ of one run folder."""

    def __init__(self, folder: Path, config: TrainConfig, position: int) -> None:
        """Go on at ``position``; forget what was written of images that will be seen again."""
        self.folder, self.config = folder, config
        self.records = [r for r in read_progress(folder / PROGRESS) if r["images"] <= position]
        self.board = Board(folder, position)
        self._started, self._start = time.monotonic(), position

    def write(
        self,
        state: TrainingState,
        dataset: PairDataset,
        classes: Classes,
        losses: Mapping[str, float],
    ) -> list[str]:
        """Report the mean ``losses`` since the last time; returns alarms, as sentences.

        Raises OSError naming the file that can't be written.
        """
        speed = (state.position - self._start) / (time.monotonic() - self._started)
        record = {"images": state.position, "images_per_s": round(speed, 3)}
        record |= {name: round(loss, 4) for name, loss in losses.items()}
        self.records.append(record)
        with replacing(self.folder / PROGRESS) as temporary:
            lines = "".join(json.dumps(r) + "\n" for r in self.records)
            temporary.write_text(lines, encoding="utf-8")

        sheet = self.folder / SAMPLES / f"{state.position:08d}.png"
        fakes, reals = write_sheet(sheet, state, dataset, classes)
        write_gallery(sheet.parent, self.folder.name, self.config.images, self.records)
        rate = state.optimizer_g.param_groups[0]["lr"]
        scalars = {f"loss/{name}": loss for name, loss in losses.items()}
        scalars |= {"images_per_s": speed, "learning_rate": rate}
        with Image.open(sheet) as picture:
            self.board.add(state.position, scalars, np.array(picture.convert("RGB")))

        alarms = [collapse_alarm(fakes, reals)]
        if "discriminator" in losses:
            scales = self.config.discriminator_scales
            alarms.append(discriminator_alarm(losses["discriminator"], self.config.gan, scales))
        return [alarm for alarm in alarms if alarm]

    def close(self) -> None:
        """Finish the files that stay open."""
        self.board.close()


def read_progress(path: Path) -> Iterator[dict[str, float]]:
    """Read the records of a run, the oldest first; no file has none."""
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)
