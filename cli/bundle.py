"""``hdsynth bundle``: look into a model bundle, pack it, fetch one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import FILE, FOLDER, open_bundle

if TYPE_CHECKING:
    from model.bundle import Bundle


@click.group()
def bundle() -> None:
    """Look into model bundles, pack them, fetch them."""


@bundle.command()
@click.argument("folder", type=FOLDER, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print bundle.json itself.")
@click.option("--card", is_flag=True, help="Print the model card.")
def show(folder: Path | None, as_json: bool, card: bool) -> None:
    """Verify the bundle in FOLDER, by default the bundled model, and print what it is."""
    from model.bundle import DESCRIPTION, MODEL_CARD

    found = open_bundle(folder)
    if as_json:
        click.echo(found.path(DESCRIPTION).read_text(encoding="utf-8"))
        return
    if card:
        click.echo(found.path(MODEL_CARD).read_text(encoding="utf-8"))
        return
    click.echo(summary(found))


@bundle.command("set-card")
@click.argument("folder", type=FOLDER)
@click.argument("card", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def set_card(folder: Path, card: Path) -> None:
    """Put the Markdown file CARD into the bundle in FOLDER as its model card."""
    from model.bundle import load_bundle, replace_card

    changed = replace_card(load_bundle(folder), card.read_text(encoding="utf-8"))
    click.echo(f"{folder} is now version {changed.version}", err=True)


@bundle.command()
@click.argument("folder", type=FOLDER)
@click.option("-o", "--output", type=FILE, required=True, help="Archive to write, NAME.tar.")
def pack(folder: Path, output: Path) -> None:
    """Write the bundle in FOLDER as one file, and print its SHA-256.

    A server loads it from wherever it lies: hdsynth serve --model https://HOST/NAME.tar#sha256=...
    """
    from model.bundle import load_bundle
    from model.bundle_archive import pack as pack_bundle

    click.echo(pack_bundle(load_bundle(folder), output))


@bundle.command()
@click.argument("address")
@click.option("--sha256", help="What the archive's SHA-256 must be.")
@click.option("-o", "--output", type=FOLDER, required=True, help="Folder for the bundle.")
def fetch(address: str, sha256: str | None, output: Path) -> None:
    """Download the archive at ADDRESS, verify it and unpack its bundle.

    ADDRESS is a URL (https, s3, gs, hf) or a file. A bundle that is in the folder is replaced.
    """
    from dataclasses import replace

    from service.model_sources import ModelSource, checked_sha256, fetch_bundle

    source = ModelSource.parse(address)
    if sha256 is not None:
        source = replace(source, sha256=checked_sha256(sha256))
    fetched = fetch_bundle(source, output)
    click.echo(f"{fetched.name} version {fetched.version} in {output}", err=True)


def summary(bundle: Bundle) -> str:
    """Describe a bundle in a few lines for people."""
    from model.bundle import DESCRIPTION

    files = json.loads(bundle.path(DESCRIPTION).read_text(encoding="utf-8"))["files"]
    g = bundle.generator
    lines = [
        f"{bundle.name}  version {bundle.version}  ({bundle.folder})",
        f"generator   {g.kind}, width {g.width}, {g.downsamplings} downsamplings, {g.blocks} blocks"
        + (f", {g.enhancers} enhancers" if g.enhancers else ""),
        f"input       {_what_it_takes(bundle)}"
        + (", instance edges" if bundle.input.edges else "")
        + (f", style code of {bundle.input.style_channels}" if bundle.input.style_channels else ""),
        f"size        any; padded to multiples of {g.size_multiple}, at least {g.minimum_side}"
        + (
            f"; trained at {bundle.trained_size[0]}x{bundle.trained_size[1]}"
            if bundle.trained_size
            else ""
        ),
        "classes",
        *(
            f"  {i:3d} {name:30s} {len(bundle.styles.get(i, ()))} styles"
            for i, name in enumerate(bundle.classes.names or ("all instances",))
        ),
        "engines",
        *(
            f"  {e.file} ({e.backend}, {e.precision}, opset {e.opset}): "
            f"grey levels from torch: mean {e.parity.mean:.2g}, "
            f"99.9 % within {e.parity.percentile_99_9:.0f}, worst {e.parity.maximum:.0f}, "
            f"over {e.parity.scenes} scenes"
            for e in bundle.engines
        ),
        "files",
        *(
            f"  {n:26s} {f['bytes']:>12,} bytes  sha256 {f['sha256'][:12]}…"
            for n, f in files.items()
        ),
    ]
    return "\n".join(lines)


def _what_it_takes(bundle: Bundle) -> str:
    if bundle.input.label_count:
        return f"{bundle.input.label_count} labels"
    return "grey picture" if bundle.input.image_channels == 1 else "RGB picture"
