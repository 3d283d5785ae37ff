"""``hdsynth export`` and ``hdsynth import-checkpoint``: make bundles servable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.export_tensorrt import export_further, graphs_are_there, tensorrt_options
from cli.options import FILE, FOLDER


@click.command()
@click.argument("bundle", type=FOLDER)
@tensorrt_options
def export(bundle: Path, **further: Any) -> None:
    """Add a verified ONNX engine to BUNDLE.

    The graph takes integer maps and returns pixels; batch and size are free. Its photographs
    are compared with torch's on fixed scenes, and the differences are recorded in the bundle.

    Compiled engines and the Triton repository start from it; where the bundle already has the
    graph that they need, it is not exported again.
    """
    from cli.bundle import summary
    from model.bundle import load_bundle

    if not graphs_are_there(bundle, **further):
        from export.build import add_engines

        click.echo(summary(add_engines(bundle)))
    export_further(load_bundle(bundle), **further)


@click.command("import-checkpoint")
@click.argument("generator", type=FILE)
@click.option("--encoder", type=FILE, help="Style encoder, latest_net_E.pth.")
@click.option("--clusters", type=FILE, help="Style clusters, features_clustered_010.npy.")
@click.option(
    "--labels",
    required=True,
    help="'cityscapes', or a classes.json file with the class names in order.",
)
@click.option("-o", "--output", type=FOLDER, required=True, help="Folder of the new bundle.")
@click.option("--name", help="Name of the model.  [default: the output folder's name]")
def import_checkpoint(
    generator: Path,
    encoder: Path | None,
    clusters: Path | None,
    labels: str,
    output: Path,
    name: str | None,
) -> None:
    """Turn a pix2pixHD checkpoint (latest_net_G.pth) into a servable bundle.

    Sizes, widths and depths are read from the weights; no code in the files is executed.
    """
    from cli.bundle import summary
    from export.build import add_engines
    from export.from_reference import bundle_from_reference, read_label_names

    classes = read_label_names(labels)
    bundle_from_reference(generator, encoder, classes, output, name or output.name, clusters)
    click.echo(summary(add_engines(output)))
