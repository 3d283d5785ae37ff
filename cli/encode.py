"""``hdsynth encode``: styles taken from a photograph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import model_option, open_bundle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from model.bundle import Bundle
    from model.codec import Maps
    from model.encoder import Encoder

EXISTING = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("photo", type=click.Path(path_type=Path, exists=True))
@click.option("--label", type=EXISTING, help="The photograph's label map, or source image.")
@click.option("--instance", type=EXISTING, help="Its instance map.  [default: every connected "
              "region of one class is an instance]")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True,
              help="Styles file (JSON) to write, or folder for those of a data set.")  # fmt: skip
@click.option(
    "--per",
    type=click.Choice(["instance", "class"]),
    default="instance",
    show_default=True,
    help="instance: a style for each, to repeat this scene's look. class: the mean over its "
    "instances, which any other scene can take.",
)
@model_option
def encode(
    photo: Path,
    label: Path | None,
    instance: Path | None,
    output: Path,
    per: str,
    model: Path | None,
) -> None:
    """Write the styles of PHOTO, for 'hdsynth synthesize --styles'.

    The model's own style encoder reads them from the photograph, object by object. PHOTO may
    also be a data set's folder (image/, label/, instance/): one file for each of its scenes.
    """
    from tqdm import tqdm

    from model.checkpoint import load_encoder

    bundle = open_bundle(model)
    encoder = load_encoder(bundle)
    if per == "class" and not bundle.classes:
        raise click.UsageError("this model has no classes; leave out --per")
    if photo.is_dir():
        from training.data import find_pairs

        output.mkdir(parents=True, exist_ok=True)
        pairs = find_pairs(photo)
        for pair in tqdm(pairs, unit="photo", dynamic_ncols=True):
            scene = read_scene(pair.image, pair.label, pair.instance, bundle)
            write_styles(encoder, *scene, per, bundle, output / f"{pair.name}.json")
        click.echo(f"styles of {len(pairs)} photographs in {output}", err=True)
        return
    if label is None and bundle.classes:
        raise click.UsageError("a photograph needs its label map; give --label")
    # Without labels the objects come from the instance map alone.
    scene = read_scene(photo, label or photo, instance, bundle)
    count = write_styles(encoder, *scene, per, bundle, output)
    click.echo(f"{count} styles in {output}", err=True)


def write_styles(
    encoder: Encoder, photo: NDArray[np.uint8], maps: Maps, per: str, bundle: Bundle, output: Path
) -> int:
    """Encode a photograph into a styles file; returns the number of styles in it."""
    import json

    from model.encode import encode_styles
    from model.style_means import mean_codes

    codes = encode_styles(encoder, photo, maps.index)
    if per == "instance":
        by_id = mean_codes(codes, maps.index, maps.object_ids)
        styles = {"instances": {str(instance): code for instance, code in by_id.items()}}
    else:
        by_label = mean_codes(codes, maps.index, maps.object_labels)
        named = enumerate(bundle.classes.names)
        styles = {"classes": {name: by_label[i] for i, name in named if i in by_label}}
    output.write_text(json.dumps(styles, indent=1) + "\n", encoding="utf-8")
    return sum(map(len, styles.values()))


def read_scene(
    photo: Path, label: Path, instance: Path | None, bundle: Bundle
) -> tuple[NDArray[np.uint8], Maps]:
    """Read a photograph (H, W, 3) and its maps; raises MapError naming the file."""
    from model.codec import prepare_maps
    from model.errors import MapError
    from model.image_io import read_instance_map, read_label_map, read_photo, read_source

    spec = bundle.input
    image = read_photo(photo)
    ids = read_label_map(label) if spec.label_count else read_source(label, spec.image_channels)
    if image.shape[:2] != ids.shape[:2]:
        raise MapError(
            "SIZE_MISMATCH",
            f"{photo}: has {image.shape[1]}x{image.shape[0]} pixels, but {label} has "
            f"{ids.shape[1]}x{ids.shape[0]}; both must show the same scene at the same size",
        )
    raw = read_instance_map(instance) if instance else None
    return image, prepare_maps(ids, raw, spec.label_count, bundle.ignore_labels, str(label))
