"""``hdsynth export`` and ``hdsynth import-checkpoint``: make bundles servable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.export_tensorrt import export_further, graphs_are_there, tensorrt_options
from cli.options import FILE, FOLDER, Size

if TYPE_CHECKING:
    from model.bundle import Precision


PRECISIONS: dict[str, Precision] = {"fp32": "float32", "fp16": "float16", "int8": "int8"}


@click.command()
@click.argument("bundle", type=FOLDER)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(list(PRECISIONS)),
    multiple=True,
    help="Graph to make; repeatable. fp32 is always made, fp16 is for GPUs, int8 for processors.  "
    "[default: all that turn out good enough]",
)
@click.option(
    "--calibration",
    type=FOLDER,
    help="Folder of maps (label/ or source/, and instance/) that int8 is calibrated on.  "
    "[default: drawn scenes, for models of their classes]",
)
@click.option(
    "--parity-size",
    "parity_sizes",
    type=Size(),
    multiple=True,
    help="Size at which engines are compared with torch; repeatable.  [default: four up to "
    "512x512]",
)
@click.option(
    "--frozen-statistics",
    "frozen",
    is_flag=True,
    help="Also make the graph of the backend onnx-frozen, which keeps the statistics of instance "
    "norm within a scene of a stream.",
)
@tensorrt_options
def export(
    bundle: Path,
    precisions: tuple[str, ...],
    calibration: Path | None,
    parity_sizes: tuple[tuple[int, int], ...],
    frozen: bool,
    **further: Any,
) -> None:
    """Add verified ONNX engines to BUNDLE.

    The graphs take integer maps of any size and return pixels. Their photographs are compared
    with torch's on fixed scenes, and the differences are recorded in the bundle.

    Compiled engines and the Triton repository start from them; where the bundle already has the
    graph that they need, it is not exported again.
    """
    from cli.bundle import summary
    from model.bundle import load_bundle

    asked = bool(precisions or calibration or parity_sizes or frozen)
    if asked or not graphs_are_there(bundle, **further):
        from export.build import PARITY_SIZES, add_engines

        wanted = [PRECISIONS[name] for name in precisions] or None
        sizes = parity_sizes or PARITY_SIZES
        made = add_engines(
            bundle,
            wanted,
            sizes,
            calibration,
            lambda line: click.echo(line, err=True),
            frozen=frozen,
        )
        click.echo(summary(made))
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
    click.echo(summary(add_engines(output, tell=lambda line: click.echo(line, err=True))))
