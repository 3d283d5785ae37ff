"""Scores photographs by how faithfully they show the layout that was asked for.

A small segmenter (``hdsynth export-segmenter``) looks at the photograph; ``model.faithfulness``
compares what it sees with the label map. Callers that name a ``min_faithfulness`` get the score,
or 422 UNFAITHFUL instead of a photograph below it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.classes import Classes
from model.onnx_segmenter import OnnxSegmenter
from service.errors import ServiceError
from service.jobs import Job, Photo

HEADER = "X-Faithfulness"


class PhotoJudge:
    """A segmenter that judges photographs. Safe to call from several threads."""

    def __init__(self, path: Path) -> None:
        """Load an ONNX segmenter.

        Raises FileNotFoundError, ValueError for a file that is none or does not tell its classes.
        """
        # One thread each: photographs are judged side by side, and must not crowd out the engine.
        self._segmenter = OnnxSegmenter(path, threads=1)
        if not self._segmenter.classes:
            raise ValueError(
                f"{path}: does not tell its classes; make it with 'hdsynth export-segmenter'"
            )

    def knows(self, classes: Classes) -> bool:
        """Whether it was trained on exactly these classes."""
        return self._segmenter.classes == classes.names

    def score(self, label: NDArray[np.uint8], photo: NDArray[np.uint8]) -> float | None:
        """Score a photograph (H, W, 3) of a label map (H, W), 0..1; None = nothing to judge."""
        return self._segmenter.faithfulness(label, photo)


def required_judge(judge: PhotoJudge | None, job: Job, bundle: Bundle) -> PhotoJudge | None:
    """Return the judge if the job asks for one. Raises ServiceError NO_JUDGE without one."""
    if job.min_faithfulness is None:
        return None
    if judge is None or not judge.knows(bundle.classes):
        raise ServiceError.at(
            ["options", "min_faithfulness"],
            "NO_JUDGE",
            f"options: min_faithfulness needs a judge of the classes of model {bundle.name}, "
            "which this server was not given (--judge)",
        )
    return judge


def require_faithful(photo: Photo, job: Job) -> None:
    """Raise ServiceError UNFAITHFUL if the photograph's score is lower than the job takes."""
    lowest, score = job.min_faithfulness, photo.faithfulness
    if lowest is not None and score is not None and score < lowest:
        raise ServiceError(
            "UNFAITHFUL",
            f"the photograph's faithfulness is {told(score)}, below min_faithfulness {lowest:g}; "
            "try another seed or style, or accept less",
            headers={HEADER: told(score)},
        )


def told(score: float) -> str:
    """Write a score for headers and messages."""
    return f"{score:.4f}"
