"""A study's tables, the paper's scores beside ours, as Markdown and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from training.ablation.runs import Job, Outcome
from training.ablation.studies import Row, Study, Table

_COLUMNS = (
    "pixel accuracy", "mean IoU", "accuracy / real", "IoU / real", "borders", "LPIPS", "Frechet",
    "paper: accuracy", "paper: IoU",
)  # fmt: skip

_HOW_TO_READ = """\
Every run saw {0:,} images, cut to {1}x{1} pixels. A segmenter that was trained on real photographs
looks for the labels in the synthesised ones; every pixel counts, and the row of real photographs
says what it finds in those of the same maps. "Borders" is the share of the borders between
instances that lie near one of the picture's strongest gradients. LPIPS (AlexNet) and the Frechet
distance (on AlexNet's features, no FID) are better when lower. The paper's scores are of Cityscapes
at 1024x512 with another segmenter: compare the order, not the numbers.
"""


def markdown(study: Study, jobs: Sequence[Job], outcomes: Mapping[str, Outcome]) -> str:
    """Return the tables, what the runs took, and how to read both."""
    first = jobs[0].config
    parts = [_HOW_TO_READ.format(first.images, first.crop)]
    parts += [_table(table, outcomes) for table in study.tables]
    parts.append(_runs(outcomes))
    return "\n".join(parts)


def as_json(
    name: str, study: Study, jobs: Sequence[Job], outcomes: Mapping[str, Outcome]
) -> dict[str, Any]:
    """Return the same with every setting, for programs."""
    return {
        "study": name,
        "runs": {
            job.name: {
                "settings": dataclasses.asdict(job.config),
                "outcome": dataclasses.asdict(outcomes[job.name]),
            }
            for job in jobs
            if job.name in outcomes
        },
        "tables": [dataclasses.asdict(table) for table in study.tables],
    }


def _table(table: Table, outcomes: Mapping[str, Outcome]) -> str:
    lines = [f"## {table.title}", ""]
    if table.note:
        lines += [table.note[0].upper() + table.note[1:], ""]
    lines += _grid(("", *_COLUMNS), [_cells(row, outcomes) for row in table.rows])
    return "\n".join([*lines, ""])


def _cells(row: Row, outcomes: Mapping[str, Outcome]) -> list[str]:
    published = [f"{value:.4f}" for value in row.published] if row.published else ["", ""]
    # Every run was scored beside the same real photographs.
    outcome = next(iter(outcomes.values()), None) if row.run is None else outcomes.get(row.run)
    if outcome is None:
        return [row.label, *["not run"] * (len(_COLUMNS) - 2), *published]
    scores = [outcome.pixel_accuracy, outcome.mean_iou, outcome.lpips, outcome.frechet]
    borders = outcome.borders_found
    if row.run is None:
        scores = [outcome.oracle_accuracy, outcome.oracle_iou, 0.0, 0.0]
        borders = outcome.oracle_borders
    accuracy, iou, lpips, frechet = scores
    return [
        row.label, f"{accuracy:.4f}", f"{iou:.4f}", f"{accuracy / outcome.oracle_accuracy:.3f}",
        f"{iou / outcome.oracle_iou:.3f}", "" if borders is None else f"{borders:.3f}",
        f"{lpips:.4f}", f"{frechet:.2f}", *published,
    ]  # fmt: skip


def _runs(outcomes: Mapping[str, Outcome]) -> str:
    rows = [
        [
            o.name, f"{o.generator_weights:,}", f"{o.images:,}", f"{o.images_per_s:.2f}",
            f"{o.images / o.images_per_s / 60:.1f}",
        ]
        for o in outcomes.values()
    ]  # fmt: skip
    head = ("run", "weights of the generator", "images", "images/s", "minutes")
    return "\n".join(["## Runs", "", *_grid(head, rows), ""])


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
