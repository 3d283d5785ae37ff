"""Make a bundle from the published implementation's checkpoints."""

from __future__ import annotations

from pathlib import Path

import torch

from export.reference_clusters import read_reference_clusters
from model.bundle import Bundle
from model.checkpoint import write_weights
from model.classes import Classes, distinct_colours, read_classes
from model.encoder import Encoder
from model.generator import GlobalGenerator, LocalEnhancer
from model.reference import ReferenceCheckpointError, load_reference_checkpoint
from model.spec import InputSpec
from model.styles import StyleClusters

CITYSCAPES = (
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic",
    "ground", "road", "sidewalk", "parking", "rail track", "building", "wall", "fence",
    "guard rail", "bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan",
    "trailer", "train", "motorcycle", "bicycle", "license plate",
)  # fmt: skip
"""The 35 classes of Cityscapes' labelIds, by value; the plate's own id is -1."""


def read_label_names(labels: str) -> Classes:
    """Return the classes for ``cityscapes`` or from a classes.json file."""
    if labels == "cityscapes":
        return Classes(CITYSCAPES, tuple(distinct_colours(len(CITYSCAPES))))
    return read_classes(Path(labels))


def bundle_from_reference(
    generator: Path,
    encoder: Path | None,
    classes: Classes,
    output: Path,
    name: str,
    clusters: Path | None = None,
) -> Bundle:
    """Write a bundle without engines from ``*_net_G.pth``.

    ``encoder`` is a ``*_net_E.pth``, ``clusters`` a ``features_clustered_*.npy``. The weights
    keep float32. Raises ReferenceCheckpointError when a file is not what it should be, or when
    the files and the classes do not fit together; BundleError when ``output`` is not empty.
    """
    network = load_reference_checkpoint(generator)
    if not isinstance(network, GlobalGenerator | LocalEnhancer):
        raise ReferenceCheckpointError(
            f"{generator}: is a {type(network).__name__}, not a generator"
        )
    style_encoder = load_reference_checkpoint(encoder) if encoder else None
    if style_encoder is not None and not isinstance(style_encoder, Encoder):
        raise ReferenceCheckpointError(
            f"{encoder}: is a {type(style_encoder).__name__}, not a style encoder"
        )
    styles = read_reference_clusters(clusters, len(classes)) if clusters else {}
    width = _style_width(style_encoder, styles, clusters)
    spec = _input_spec(generator, network.spec.input_channels, len(classes), width)
    bundle = Bundle(
        name=name,
        input=spec,
        generator=network.spec,
        encoder=style_encoder.spec if style_encoder else None,
        classes=classes,
        styles=styles,
    )
    card = f"# {name}\n\nImported from the pix2pixHD checkpoint {generator.name}.\n"
    return write_weights(bundle, output, network, style_encoder, card, torch.float32)


def _style_width(
    encoder: Encoder | None, styles: StyleClusters, clusters: Path | None
) -> int | None:
    """Length of a style code, None when neither file tells it."""
    widths = [encoder.spec.output_channels] if encoder else []
    widths += [centres.shape[1] for centres in styles.values()]
    if len(set(widths)) > 1:
        raise ReferenceCheckpointError(
            f"{clusters}: holds style codes of {widths[-1]} numbers, but the encoder makes "
            f"{widths[0]}; both must come from one training run"
        )
    return widths[0] if widths else None


def _input_spec(path: Path, channels: int, labels: int, style_width: int | None) -> InputSpec:
    """Tell labels, edge channel and style channels apart by their sum."""
    extra = channels - labels
    styles = max(0, extra - 1) if style_width is None else style_width
    if extra - styles not in {0, 1}:
        told = style_width is not None
        raise ReferenceCheckpointError(
            f"{path}: takes {channels} input channels, which {labels} labels"
            + (f", {styles} style channels" if told else "")
            + " and an edge channel do not add up to; check --labels"
            + (", --encoder and --clusters" if told else "")
        )
    return InputSpec(labels, edges=extra > styles, style_channels=styles)
