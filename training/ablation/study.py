"""A whole study: a judge, all runs, and the tables and pictures of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from model.bundle import load_bundle
from training.ablation.pictures import spread, write_side_by_side
from training.ablation.runs import PHOTOS, Job, Outcome, read_maps, synthesise_maps
from training.ablation.schedule import run_all
from training.ablation.studies import STUDIES, Study, run_configs
from training.ablation.tables import as_json, markdown
from training.data import find_pairs
from training.evaluation.segmenter import SegmenterConfig, train_segmenter
from training.layout import SUFFIXES

TABLES, TABLES_JSON, SHEET, MAPS_SHEET = "tables.md", "tables.json", "sheet.png", "maps.png"
EXAMPLES = 4
"""Test scenes on the sheet."""


@dataclass(frozen=True)
class StudyPlan:
    """What is compared, on which data, at which cost."""

    preset: str
    data: Path
    """Folder with train/ and val/, as ``hdsynth data prepare`` writes it."""
    output: Path
    weights: Path
    """Folder with the weights of AlexNet and LPIPS."""
    segmenter: str | Path | None = None
    """The judge, as ``score_folder`` takes it; None = train one on the photographs of train/."""
    size: int = 256
    """Side of the crops, and shorter side of the test photographs, in pixels."""
    width: int = 64
    images: int = 100_000
    """Images that every run sees."""
    segmenter_steps: int = 2_500
    maps: Path | None = None
    """Folder with label/ and instance/ that a second sheet shows, such as drawn scenes."""

    @property
    def study(self) -> Study:
        """The runs and tables; raises ValueError for an unknown preset."""
        if self.preset not in STUDIES:
            raise ValueError(f"no study {self.preset!r}; there are {', '.join(STUDIES)}")
        return STUDIES[self.preset]


def run_study(
    plan: StudyPlan,
    given: Mapping[str, Mapping[str, Any]],
    devices: Sequence[str] = (),
    threads: int = 0,
) -> bool:
    """Do what is left of a study; returns False when a signal stopped it before its end.

    Writes tables.md, tables.json and sheet.png into the output folder, anew after every run.
    ``given`` is as for ``run_configs``; ``devices`` as for ``run_all``, by default all GPUs or
    the CPU. Raises what these raise, and FileNotFoundError for a data set without train/ or val/.
    """
    for part in ("train", "val"):
        if not (plan.data / part).is_dir():
            raise FileNotFoundError(
                f"{plan.data / part}: no such folder; a study needs train/ and val/, as "
                "'hdsynth data prepare' writes them"
            )
    configs = run_configs(
        plan.study, plan.data / "train", plan.size, plan.width, plan.images, given
    )
    devices = devices or all_devices()
    if threads:
        torch.set_num_threads(threads)
    segmenter = plan.segmenter or _judge(plan, devices[0])
    jobs = [
        Job(name, config, plan.output / name, plan.data / "val", plan.weights, segmenter)
        for name, config in configs.items()
    ]
    outcomes: dict[str, Outcome] = {}

    def report(outcome: Outcome) -> None:
        outcomes[outcome.name] = outcome
        write_report(plan, jobs, outcomes)

    return run_all(jobs, devices, threads, report)


def all_devices() -> list[str]:
    """Every GPU, or the CPU."""
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]


def write_report(plan: StudyPlan, jobs: Sequence[Job], outcomes: Mapping[str, Outcome]) -> None:
    """Write the tables and sheets of the runs that are finished."""
    text = markdown(plan.study, jobs, outcomes)
    (plan.output / TABLES).write_text(text, encoding="utf-8")
    numbers = json.dumps(as_json(plan.preset, plan.study, jobs, outcomes), indent=2) + "\n"
    (plan.output / TABLES_JSON).write_text(numbers, encoding="utf-8")
    finished = [job for job in jobs if job.name in outcomes]
    pairs = find_pairs(plan.data / "val")
    shown = [pairs[i] for i in spread(EXAMPLES, len(pairs))]
    photos = {
        job.name: [Image.open(job.folder / PHOTOS / f"{pair.name}.png") for pair in shown]
        for job in finished
    }
    maps = _coloured(finished[0], [(p.label, p.instance) for p in shown], plan.size)
    real = [Image.open(pair.image) for pair in shown]
    write_side_by_side(plan.output / SHEET, {"labels": maps, **photos, "real": real}, plan.size)
    if plan.maps:
        _write_maps_sheet(plan, finished)


def _write_maps_sheet(plan: StudyPlan, finished: Sequence[Job]) -> None:
    """Show maps that have no photographs."""
    assert plan.maps is not None
    labels = sorted((plan.maps / "label").glob(f"*{SUFFIXES['label'][0]}"))
    if not labels:
        raise FileNotFoundError(f"{plan.maps / 'label'}: no label maps (.png) in it")
    instances = [path.parent.parent / "instance" / path.name for path in labels]
    maps = [
        (label, instance if instance.exists() else None)
        for label, instance in zip(labels, instances, strict=True)
    ]
    columns = {"labels": _coloured(finished[0], maps, plan.size)}
    for job in finished:
        folder = job.folder / "maps"
        if not folder.exists():
            named = [(label.stem, label, instance) for label, instance in maps]
            synthesise_maps(load_bundle(job.folder / "bundle"), named, folder, plan.size)
        columns[job.name] = [Image.open(folder / f"{label.stem}.png") for label in labels]
    write_side_by_side(plan.output / MAPS_SHEET, columns, plan.size)


def _coloured(job: Job, maps: Sequence[tuple[Path, Path | None]], size: int) -> list[Image.Image]:
    bundle = load_bundle(job.folder / "bundle")
    return [
        Image.fromarray(bundle.classes.colour(read_maps(bundle, *both, size)[0])) for both in maps
    ]


def _judge(plan: StudyPlan, device: str) -> Path:
    """Train the segmenter, or what is left of its training."""
    config = SegmenterConfig(
        str(plan.data / "train"), plan.segmenter_steps, size=-(-plan.size // 16) * 16
    )
    path = plan.output / "segmenter.safetensors"
    train_segmenter(config, plan.weights, path, device)
    return path
