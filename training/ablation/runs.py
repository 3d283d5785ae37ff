"""One run of a study: train, write a bundle, synthesise the test maps, score the photographs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from model.bundle import DESCRIPTION, Bundle, load_bundle
from model.checkpoint import load_generator
from model.codec import prepare_maps
from model.image_io import read_instance_map, read_label_map
from model.synthesis import Synthesis
from training.config import TrainConfig
from training.data import find_pairs
from training.evaluation.report import score_folder
from training.files import replacing
from training.finish import write_bundle
from training.journal import PROGRESS, read_progress
from training.loop import CONFIG_FILE, train

OUTCOME, SCORES, PAGE, PHOTOS = "outcome.json", "scores.json", "report.html", "photos"
_MAY_CHANGE = ("device", "workers", "checkpoint_every")
"""Settings that a run may be resumed with other values of."""


@dataclass(frozen=True)
class Job:
    """What one run is, and what it is tested on."""

    name: str
    config: TrainConfig
    folder: Path
    """Run folder of the training; bundle/, photos/, scores.json, report.html and outcome.json join
    it."""
    test: Path
    """Held-out data folder."""
    weights: Path
    """Folder with the weights of AlexNet and LPIPS."""
    segmenter: str | Path
    """The judge, as ``score_folder`` takes it."""


@dataclass(frozen=True)
class Outcome:
    """What a table tells of one run; scores.json has the rest."""

    name: str
    generator_weights: int
    images: int
    images_per_s: float
    """Speed of the training since it was last started."""
    pixel_accuracy: float
    mean_iou: float
    oracle_accuracy: float
    """Pixel accuracy on the real photographs."""
    oracle_iou: float
    lpips: float
    frechet: float
    borders_found: float | None
    """Share of the borders between instances that show; None without instance maps."""
    oracle_borders: float | None


def read_outcome(job: Job) -> Outcome | None:
    """Return what a finished run reached, None for one that is not finished.

    Raises ValueError when its folder holds a run with other settings.
    """
    _check_same(job)
    path = job.folder / OUTCOME
    return Outcome(**json.loads(path.read_text("utf-8"))) if path.exists() else None


def run_job(job: Job, device: str) -> Outcome | None:
    """Do what is left to do of a run; returns None when a signal stopped it before its end.

    Raises whatever ``train``, ``write_bundle`` and ``score_folder`` raise, and ValueError when
    the folder holds a run with other settings.
    """
    done = read_outcome(job)
    if done is not None:
        return done
    bundle = _train(job, device)
    if bundle is None:
        return None
    size = job.config.crop
    pairs = find_pairs(job.test)
    maps = [(pair.name, pair.label, pair.instance) for pair in pairs]
    synthesise_maps(bundle, maps, job.folder / PHOTOS, size, device)
    scores = score_folder(
        job.folder / PHOTOS, job.test, job.weights, job.segmenter, size, device=device,
        page=job.folder / PAGE,
    )  # fmt: skip
    scores.save(job.folder / SCORES)
    found, borders = scores.segmentation_raw, scores.boundaries
    assert found is not None
    generator = load_generator(bundle)
    outcome = Outcome(
        name=job.name,
        generator_weights=sum(p.numel() for p in generator.parameters()),
        images=job.config.images,
        images_per_s=list(read_progress(job.folder / PROGRESS))[-1]["images_per_s"],
        pixel_accuracy=found.synthesised.pixel_accuracy,
        mean_iou=found.synthesised.mean_iou,
        oracle_accuracy=found.real.pixel_accuracy,
        oracle_iou=found.real.mean_iou,
        lpips=scores.lpips_alex,
        frechet=scores.frechet_distance_alexnet_relu5,
        borders_found=borders.synthesised.found if borders else None,
        oracle_borders=borders.real.found if borders else None,
    )
    with replacing(job.folder / OUTCOME) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(outcome), indent=2) + "\n", "utf-8")
    return outcome


def synthesise_maps(
    bundle: Bundle,
    maps: Iterable[tuple[str, Path, Path | None]],
    folder: Path,
    size: int,
    device: str = "cpu",
) -> None:
    """Write ``folder``/NAME.png for every (name, label map, instance map or None).

    The maps are first brought to a shorter side of ``size`` pixels. Raises MapError naming a map
    that the model does not take.
    """
    synthesis = Synthesis(bundle.input, load_generator(bundle)).to(device).eval()
    folder.mkdir(parents=True, exist_ok=True)
    for name, label_path, instance_path in tqdm(list(maps), unit="img", dynamic_ncols=True):
        label, instance = read_maps(bundle, label_path, instance_path, size)
        ids = torch.from_numpy(label)[None].to(device)
        edges = torch.from_numpy(instance)[None].to(device) if bundle.input.edges else None
        with torch.inference_mode():
            photo = synthesis(ids, edges)[0].cpu().numpy()
        Image.fromarray(photo).save(folder / f"{name}.png")


def read_maps(
    bundle: Bundle, label: Path, instance: Path | None, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Read a label and an instance map (H, W) at a shorter side of ``size`` pixels."""
    raw = read_instance_map(instance) if instance else None
    count, ignored = bundle.input.label_count, bundle.ignore_labels
    maps = prepare_maps(read_label_map(label), raw, count, ignored, name=str(label))
    height, width = maps.label.shape
    factor = size / min(height, width)
    target = round(width * factor), round(height * factor)
    return tuple(
        np.array(Image.fromarray(ids).resize(target, Image.Resampling.NEAREST))
        for ids in (maps.label, maps.instance)
    )  # type: ignore[return-value]


def _train(job: Job, device: str) -> Bundle | None:
    """Train the run to its end; None when a signal stopped it."""
    folder = job.folder / "bundle"
    if (folder / DESCRIPTION).exists():
        return load_bundle(folder)
    shutil.rmtree(folder, ignore_errors=True)  # the description comes last: it was cut off
    config = dataclasses.replace(job.config, device=device)
    state = train(config, job.folder)
    if state.position < config.images:
        return None
    return write_bundle(state, config, folder, job.name)


def _check_same(job: Job) -> None:
    path = job.folder / CONFIG_FILE
    if not path.exists():
        return
    saved = dataclasses.asdict(TrainConfig.load(path))
    wanted = dataclasses.asdict(job.config)
    changed = [n for n in wanted if saved[n] != wanted[n] and n not in _MAY_CHANGE]
    if changed:
        name = changed[0]
        raise ValueError(
            f"{path}: this run was begun with {name} {saved[name]!r}, not {wanted[name]!r}; give "
            "the same settings, or another folder"
        )
