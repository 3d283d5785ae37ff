"""TensorBoard's view of a run: ``tensorboard --logdir RUN``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.files import naming

FOLDER = "tensorboard"


class Board:
    """Scalars and sample sheets of one run, by images seen."""

    def __init__(self, run: Path, position: int) -> None:
        """Go on at ``position``; what an interrupted run wrote beyond it is hidden."""
        from torch.utils.tensorboard import SummaryWriter

        self.folder = run / FOLDER
        with naming(self.folder):
            self._writer = SummaryWriter(str(self.folder), purge_step=position + 1)

    def add(self, position: int, scalars: Mapping[str, float], sheet: NDArray[np.uint8]) -> None:
        """Write numbers and a picture (H, W, 3); raises OSError naming the folder."""
        with naming(self.folder):
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, position)
            self._writer.add_image("samples", sheet, position, dataformats="HWC")
            self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        with naming(self.folder):
            self._writer.close()
