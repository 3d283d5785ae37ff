from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from training.board import FOLDER
from training.config import TrainConfig
from training.journal import PROGRESS, Journal, read_progress
from training.loop import train


@pytest.fixture
def config(pairs_folder: Path) -> TrainConfig:
    """A run of two checkpoints."""
    return TrainConfig(
        data=str(pairs_folder), images=4, batch=2, crop=32, scale=(32, 48), width=4,
        downsamplings=2, blocks=1, discriminator_width=4, workers=0, checkpoint_every=2,
        device="cpu", perceptual=0,
    )  # fmt: skip


def test_a_run_can_be_watched(config: TrainConfig, tmp_path: Path) -> None:
    """Every checkpoint adds numbers and a sheet to TensorBoard, and renews the HTML page."""
    train(config, tmp_path)
    events = EventAccumulator(str(tmp_path / FOLDER)).Reload()
    for name in ("loss/adversarial", "loss/discriminator", "images_per_s", "learning_rate"):
        assert [event.step for event in events.Scalars(name)] == [2, 4]
    (first, second) = events.Images("samples")
    assert (first.width, first.height, second.step) == (3 * 32, 5 * 32, 4)
    records = list(read_progress(tmp_path / PROGRESS))
    assert events.Scalars("loss/matching")[1].value == pytest.approx(
        records[1]["matching"], abs=1e-3
    )
    page = (tmp_path / "samples" / "index.html").read_text(encoding="utf-8")
    assert "4 of 4 images seen" in page
    assert "matching" in page


def test_progress_forgets_what_will_be_seen_again(config: TrainConfig, tmp_path: Path) -> None:
    """A run that died after a record but before its checkpoint doesn't count images twice."""
    lines = [{"images": n, "images_per_s": 1.0, "l1": 0.5} for n in (2, 4, 6)]
    (tmp_path / PROGRESS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    journal = Journal(tmp_path, config, position=4)
    journal.close()
    assert [record["images"] for record in journal.records] == [2, 4]
