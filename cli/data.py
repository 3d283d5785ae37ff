"""``hdsynth data``: bring data sets into shape and check them."""

from __future__ import annotations

from pathlib import Path

import click

from cli.options import FILE, FOLDER

DATA_SETS = ["ade20k", "celeba-hq", "cityscapes", "facades", "helen", "nyu"]


@click.group()
def data() -> None:
    """Prepare and check training data."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--sheet", type=FILE, help="Also write a contact sheet (PNG) of what is in there.")
def check(folder: Path, sheet: Path | None) -> None:
    """Check every pair in FOLDER before training on it: names, sizes, labels, classes.

    Reports all problems at once; the exit code is 3 when there are any.
    """
    from tqdm import tqdm

    from training.check import check_folder
    from training.contact_sheet import write_contact_sheet

    with tqdm(unit="pair", dynamic_ncols=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = check_folder(folder, progress=progress)
    for finding in [*report.warnings, *report.problems]:
        click.echo(str(finding), err=True)
    for name, share in report.shares.items():
        click.echo(f"{100 * share:6.2f} %  {name}")
    if report.ignore:
        values = ", ".join(map(str, report.ignore))
        click.echo(f"{100 * report.ignored:6.2f} %  ignored (values {values})")
    if report.source_channels:
        kind = "grey" if report.source_channels == 1 else "RGB"
        click.echo(f"no labels: the model starts from {kind} pictures")
    sizes = ", ".join(f"{n} of {w}x{h}" for (w, h), n in sorted(report.sizes.items()))
    click.echo(f"{report.pairs} pairs ({sizes}); {len(report.problems)} problems, "
               f"{len(report.warnings)} warnings")  # fmt: skip
    if sheet:
        write_contact_sheet(folder, sheet)
    if report.problems:
        raise click.exceptions.Exit(3)


@data.command()
@click.argument("name", type=click.Choice(DATA_SETS))
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("target", type=FOLDER)
@click.option("--size", type=click.IntRange(16), help="Shorter side of the result in pixels.  "
              "[default: as released]")  # fmt: skip
def prepare(name: str, source: Path, target: Path, size: int | None) -> None:
    """Turn a public data set, as released in SOURCE, into TARGET/train and TARGET/val.

    The same command goes on after an interruption.
    """
    from tqdm import tqdm

    from training.prepare import prepare as run

    with tqdm(unit="file", dynamic_ncols=True) as bar:
        for step in run(name, source, target, size=size):
            bar.total = step.total
            bar.update(step.done - bar.n)
    click.echo(f"{target}/train and {target}/val are ready", err=True)
