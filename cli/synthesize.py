"""``hdsynth synthesize``: maps on disk, or in an object store, to photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import FILE, open_bundle

if TYPE_CHECKING:
    from model.bundle import Bundle
    from model.styles import StyleChoice
    from training.layout import InputKind

RAY_ONLY = ("address", "workers", "batch", "shards")
PLAIN_ONLY = ("instances", "sheet")


class BackendName(click.ParamType[str]):
    """A backend, with a precision where it has several: ``openvino:int8``."""

    name = "NAME[:PRECISION]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the name; the bundle tells which precisions there are."""
        from service.backends import BACKENDS

        name = str(value).partition(":")[0]
        if name not in {*BACKENDS, "fake"}:
            self.fail(f"{value!r} is unknown; choose from {', '.join(BACKENDS)}", param, ctx)
        return str(value)


@click.command()
@click.argument("maps", nargs=-1, required=True, metavar="MAPS... [DST]")
@click.option("-o", "--output", help="Folder for the photographs.  [default: the last of MAPS]")
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
@click.option("--model", help="Bundle folder; for a cluster also an archive or its URL.  "
              "[default: the bundled facades model]")  # fmt: skip
@click.option("--backend", type=BackendName(), default="auto", show_default=True,
              help="Engine to run on; auto = the fastest that works here.")  # fmt: skip
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
@click.option("--threads", type=click.IntRange(0), default=0,
              help="Of one engine; 0 = all cores, with ray one core.")  # fmt: skip
@click.option("--engine", type=click.Choice(["plain", "ray"]), default="plain", show_default=True,
              help="ray = in bulk: many workers, goes on where it was stopped.")  # fmt: skip
@click.option("--address", default="", help="With ray: a cluster.  [default: this machine alone]")
@click.option("--workers", type=click.IntRange(1),
              help="With ray: engines.  [default: one per GPU, or per core]")  # fmt: skip
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True,
              help="With ray: most maps of one size that an engine runs at once.")  # fmt: skip
@click.option("--shards", is_flag=True,
              help="With ray: MAPS holds WebDataset shards (.tar), and so will DST.")  # fmt: skip
@click.pass_context
def synthesize(context: click.Context, /, **options: Any) -> None:
    """Synthesise a photograph for every label map.

    MAPS are PNG files, or folders that hold label/ and (optionally) instance/ with files of the
    same names, or folders of label maps alone. A model without labels takes pictures instead:
    PNG, JPEG or WebP files, or folders that hold source/. A map that cannot be used is reported,
    the others are still made, and the exit code is 3.

    With --engine ray MAPS is one folder, and both may be addresses such as s3://bucket/maps:
    see docs/bulk.md.
    """
    engine = options.pop("engine")
    _refuse(context, RAY_ONLY if engine == "plain" else PLAIN_ONLY, engine)
    maps, output = options.pop("maps"), options.pop("output")
    if output is None:
        if len(maps) < 2:
            raise click.UsageError("say where the photographs go: MAPS DST, or MAPS -o DST")
        *maps, output = maps
    if engine == "plain":
        others = {name: value for name, value in options.items() if name not in RAY_ONLY}
        _synthesize_here(_existing(maps), Path(output), **others)
    elif len(maps) > 1:
        raise click.UsageError("--engine ray takes one folder of maps")
    else:
        others = {name: value for name, value in options.items() if name not in PLAIN_ONLY}
        _synthesize_in_bulk(maps[0], output, **others)


def _refuse(context: click.Context, names: tuple[str, ...], engine: str) -> None:
    """Refuse options that the engine would not look at."""
    for name in names:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} has no meaning with --engine {engine}")


def _existing(maps: list[str]) -> list[Path]:
    for name in maps:
        if not Path(name).exists():
            raise click.BadParameter(f"{name!r} does not exist", param_hint="MAPS")
    return [Path(name) for name in maps]


def _synthesize_here(
    maps: list[Path],
    output: Path,
    instances: Path | None,
    seed: int,
    styles: Path | None,
    model: str | None,
    backend: str,
    suffix: str,
    quality: int,
    sheet: Path | None,
    threads: int,
) -> None:
    from cli.folders import find_maps
    from service.backends import load_engine
    from service.folder import Job, synthesize_files
    from service.synthesizer import Synthesizer

    bundle = open_bundle(Path(model) if model else None)
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


def _synthesize_in_bulk(
    maps: str,
    output: str,
    seed: int,
    styles: Path | None,
    model: str | None,
    backend: str,
    suffix: Any,
    quality: int,
    threads: int,
    address: str,
    workers: int | None,
    batch: int,
    shards: bool,
) -> None:
    from tqdm import tqdm

    from cli.stored_maps import find_stored_maps
    from model.bundled import bundled_model_path
    from service.bulk import ERRORS, Cluster, render_files, render_shards
    from service.bulk_store import Store
    from service.bulk_task import Task, open_model

    if styles and styles.is_dir():
        raise click.UsageError("--engine ray takes one file of styles for all maps")
    model = model or str(bundled_model_path())
    model = model if "://" in model else str(Path(model).resolve())
    bundle = open_model(model)
    task = Task(
        model=model,
        version=bundle.version,
        backend=backend,
        threads=threads or 1,
        choice=read_styles(styles, bundle, seed),
        source=Store(maps),
        target=Store(output),
        format=suffix,
        quality=quality,
        batch=batch,
    )
    cluster = Cluster(address, workers or 0)
    if shards:
        with tqdm(unit="photo", dynamic_ncols=True) as bar:
            report = render_shards(task, cluster, bar.update)
    else:
        kind: InputKind = "label" if bundle.input.label_count else "source"
        found = find_stored_maps(task.source, kind)
        with tqdm(total=len(found), unit="photo", dynamic_ncols=True) as bar:
            report = render_files(task, found, cluster, bar.update)
    click.echo(report.summary(), err=True)
    if report.errors:
        click.echo(f"hdsynth: {report.errors} errors, see {output}/{ERRORS}", err=True)
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
