"""``hdsynth synthesize``: maps on disk to photographs on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import FILE, FOLDER, model_option, open_bundle

if TYPE_CHECKING:
    from model.bundle import Bundle
    from model.styles import StyleChoice
    from training.layout import InputKind


@click.command()
@click.argument("maps", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--output", type=FOLDER, required=True, help="Folder for the photographs.")
@click.option(
    "--instances",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of instance maps named like the label maps.  [default: MAPS/instance]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the styles.")
@click.option(
    "--styles",
    type=click.Path(path_type=Path, exists=True),
    help="JSON file, or folder with a NAME.json for every map, such as "
    '{"instances": {"10003": 2, "3001": [0.1, -0.4, 0.9]}, '
    '"classes": {"car": {"between": [0, 3], "at": 0.5}}}: a style is one of the numbers '
    "that 'hdsynth bundle show' counts, a code (see 'hdsynth encode'), or a mixture of two.",
)
@model_option
@click.option(
    "--backend",
    type=click.Choice(["onnx", "torch"]),
    default="onnx",
    show_default=True,
    help="Engine to run on.",
)
@click.option(
    "--format",
    "suffix",
    type=click.Choice(["png", "jpeg", "webp"]),
    default="png",
    show_default=True,
    help="File format of the photographs.",
)
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True,
              help="Quality of JPEG and WebP.")  # fmt: skip
@click.option("--sheet", type=FILE, help="Also write a contact sheet (PNG): map | photograph.")
@click.option("--threads", type=click.IntRange(0), default=0, help="0 = all cores.")
def synthesize(
    maps: tuple[Path, ...],
    output: Path,
    instances: Path | None,
    seed: int,
    styles: Path | None,
    model: Path | None,
    backend: str,
    suffix: str,
    quality: int,
    sheet: Path | None,
    threads: int,
) -> None:
    """Synthesise a photograph for every label map.

    MAPS are PNG files, or folders that hold label/ and (optionally) instance/ with files of the
    same names, or folders of label maps alone. A model without labels takes pictures instead:
    PNG, JPEG or WebP files, or folders that hold source/. A map that cannot be used is reported,
    the others are still made, and the exit code is 3.
    """
    from cli.folders import find_maps
    from service.backends import load_engine
    from service.folder import Job, synthesize_files
    from service.synthesizer import Synthesizer

    bundle = open_bundle(model)
    ending = "jpg" if suffix == "jpeg" else suffix
    jobs = []
    kind: InputKind = "label" if bundle.input.label_count else "source"
    for label, instance in find_maps(maps, instances, kind):
        own = styles / f"{label.stem}.json" if styles and styles.is_dir() else styles
        choice = read_styles(own, bundle, seed)
        jobs.append(Job(label, instance, choice, output / f"{label.stem}.{ending}"))
    synthesizer = Synthesizer(bundle, load_engine(bundle, backend, threads))
    output.mkdir(parents=True, exist_ok=True)
    failed = synthesize_files(synthesizer, jobs, quality, sheet)
    for error in failed:
        click.echo(f"hdsynth: {error}", err=True)
    click.echo(f"{len(jobs) - len(failed)} of {len(jobs)} photographs in {output}", err=True)
    if failed:
        raise click.exceptions.Exit(3)


def read_styles(path: Path | None, bundle: Bundle, seed: int) -> StyleChoice:
    """Read the ``--styles`` file; raises ValueError naming the file and the entry."""
    import json

    from model.styles import StyleChoice, style_wish

    if path is None:
        return StyleChoice(seed)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        unknown = set(data) - {"instances", "classes"}
        if unknown:
            raise ValueError(f"unknown entry {unknown.pop()!r}; known: instances, classes")  # noqa: TRY301
        return StyleChoice(
            seed,
            {int(k): style_wish(v) for k, v in data.get("instances", {}).items()},
            {bundle.classes.index(k): style_wish(v) for k, v in data.get("classes", {}).items()},
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error
