"""Turn a finished run into a bundle."""

from __future__ import annotations

import tempfile
from pathlib import Path

from model.bundle import GENERATOR_WEIGHTS, Bundle, load_bundle
from model.checkpoint import write_weights
from model.encoder import Encoder
from training.clusters import find_styles
from training.config import TrainConfig
from training.crops import crop_rule
from training.data import PairDataset, find_pairs, open_folder
from training.norms import settle_norms
from training.state import TrainingState


def finish(state: TrainingState, config: TrainConfig, folder: Path, name: str) -> Bundle:
    """Write the run's bundle, and keep one with other weights under the name of its version.

    A bundle with the same weights stays as it is, engines and card included: a finished run may
    be run again. Raises BundleError when ``folder`` holds something else.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".bundle-") as staging:
        made = write_bundle(state, config, Path(staging) / "bundle", name)
        if folder.exists() and any(folder.iterdir()):
            earlier = load_bundle(folder)
            if _weights(earlier) == _weights(made):
                return earlier
            folder.rename(folder.with_name(f"{folder.name}-{earlier.version}"))
        (Path(staging) / "bundle").replace(folder)
    return load_bundle(folder)


def _weights(bundle: Bundle) -> bytes:
    return bundle.path(GENERATOR_WEIGHTS).read_bytes()


def write_bundle(state: TrainingState, config: TrainConfig, folder: Path, name: str) -> Bundle:
    """Write the averaged networks and their styles as a bundle, still without engines.

    Raises BundleError when ``folder`` exists and is not empty.
    """
    data, rule = open_folder(Path(config.data)), crop_rule(config)
    dataset = PairDataset(data, rule, config.seed)
    if not config.freeze_norms:
        settle_norms(state, config, dataset)
    generator = state.averaged["generator"]
    encoder = state.averaged["encoder"] if state.encoder else None
    assert encoder is None or isinstance(encoder, Encoder)
    styles = None
    if encoder is not None:
        styles = find_styles(encoder, data, rule)
    height, width = dataset[0]["index"].shape
    bundle = Bundle(
        name=name,
        input=state.input,
        generator=state.generator.spec,
        encoder=state.encoder.spec if state.encoder else None,
        classes=data.classes,
        ignore_labels=data.ignore,
        trained_size=(width, height),
        styles=styles.clusters if styles else {},
        scene_styles=styles.scenes if styles else None,
    )
    return write_weights(bundle, folder, generator, encoder, _card(name, state, config))


def _card(name: str, state: TrainingState, config: TrainConfig) -> str:
    weights = sum(p.numel() for p in state.trained.parameters())
    return (
        f"# {name}\n\n"
        f"Trained on {len(find_pairs(Path(config.data)))} pairs, {state.position} images seen, "
        f"crops of {config.crop} pixels, {weights / 1e6:.1f} million weights.\n\n"
        "Say here where the data comes from, its licence, what the model is for, its scores and "
        "its limits: write it down in a file and run 'hdsynth bundle set-card BUNDLE FILE'.\n"
    )
