"""``hdsynth encode``: styles taken from a photograph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import FILE, model_option, open_bundle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from model.bundle import Bundle
    from model.codec import Maps

EXISTING = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("photo", type=EXISTING)
@click.option("--label", type=EXISTING, required=True, help="Its label map.")
@click.option("--instance", type=EXISTING, help="Its instance map.  [default: every connected "
              "region of one class is an instance]")  # fmt: skip
@click.option("-o", "--output", type=FILE, required=True, help="Styles file (JSON) to write.")
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
    photo: Path, label: Path, instance: Path | None, output: Path, per: str, model: Path | None
) -> None:
    """Write the styles of PHOTO, for 'hdsynth synthesize --styles'.

    The model's own style encoder reads them from the photograph, object by object.
    """
    import json

    from model.checkpoint import load_encoder
    from model.encode import encode_styles, mean_codes

    bundle = open_bundle(model)
    image, maps = read_scene(photo, label, instance, bundle)
    codes = encode_styles(load_encoder(bundle), image, maps.index)
    if per == "instance":
        by_id = mean_codes(codes, maps.index, maps.object_ids)
        styles = {"instances": {str(instance): code for instance, code in by_id.items()}}
    else:
        by_label = mean_codes(codes, maps.index, maps.object_labels)
        named = enumerate(bundle.classes.names)
        styles = {"classes": {name: by_label[i] for i, name in named if i in by_label}}
    output.write_text(json.dumps(styles, indent=1) + "\n", encoding="utf-8")
    click.echo(f"{sum(map(len, styles.values()))} styles in {output}", err=True)


def read_scene(
    photo: Path, label: Path, instance: Path | None, bundle: Bundle
) -> tuple[NDArray[np.uint8], Maps]:
    """Read a photograph (H, W, 3) and its maps; raises MapError naming the file."""
    from model.codec import prepare_maps
    from model.errors import MapError
    from model.image_io import read_instance_map, read_label_map, read_photo

    image, ids = read_photo(photo), read_label_map(label)
    if image.shape[:2] != ids.shape:
        raise MapError(
            "SIZE_MISMATCH",
            f"{photo}: has {image.shape[1]}x{image.shape[0]} pixels, but {label} has "
            f"{ids.shape[1]}x{ids.shape[0]}; both must show the same scene at the same size",
        )
    raw = read_instance_map(instance) if instance else None
    spec = bundle.input
    return image, prepare_maps(ids, raw, spec.label_count, bundle.ignore_labels, str(label))
