"""``hdsynth train``: from a folder of pairs to a bundle."""

from __future__ import annotations

import os
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import FOLDER, LazyOptionsCommand

if TYPE_CHECKING:
    import dataclasses

    from training.config import TrainConfig

STOPPED = 75
"""Exit code under torchrun of a run that was stopped before its end; sysexits' "try again"."""


def _fields(*, options: bool) -> list[dataclasses.Field[Any]]:
    """Settings that have an option of their own, or those that only ``--set`` reaches."""
    import dataclasses

    from training.config import TrainConfig

    return [f for f in dataclasses.fields(TrainConfig) if f.metadata.get("option") is options]


def _settings() -> list[click.Option]:
    """Everyday training settings, one option each."""
    from training.config import TrainConfig

    types = typing.get_type_hints(TrainConfig)
    return [
        click.Option(
            ["--" + setting.name.replace("_", "-")],
            default=setting.default,
            help=setting.metadata["help"],
            show_default=setting.default is not None,
            is_flag=types[setting.name] is bool,
            type=_click_type(types[setting.name]),
        )
        for setting in _fields(options=True)
    ]


def _click_type(kind: Any) -> Any:
    if typing.get_origin(kind) is typing.Literal:
        return click.Choice(typing.get_args(kind))
    if kind in {int, float, bool, str}:
        return kind
    return (int, int) if kind == tuple[int, int] else str


class _TrainCommand(LazyOptionsCommand):
    """Lists presets and the rarer settings below the options."""

    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both as tables."""
        from training.presets import PRESETS

        with formatter.section("Presets"):
            formatter.write_dl([(name, preset.purpose) for name, preset in PRESETS.items()])
        with formatter.section("Settings for --set"):
            formatter.write_dl([
                (f.name, f"{f.metadata['help']}  [default: {f.default}]")
                for f in _fields(options=False)
            ])  # fmt: skip


@click.command(cls=_TrainCommand, declared=_settings)
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "-o", "--output", type=FOLDER, required=True, help="Run folder; an existing run resumes."
)
@click.option("--name", default="model", show_default=True, help="Name of the model in its bundle.")
@click.option("--preset", help="Recipe to start from, see below; options change parts of it.")
@click.option("--budget", type=float, default=1.0, show_default=True,
              help="Length of the run as a multiple of the preset's: images, their share for the "
              "enhancers alone, and the half-life of the average. 0.1 is a quick try.")  # fmt: skip
@click.option("--set", "others", multiple=True, metavar="NAME=VALUE",
              help="Any other setting, see below; may be repeated.")  # fmt: skip
@click.option("--dry-run", is_flag=True,
              help="Print settings, numbers of weights and an estimate of the memory; write "
              "nothing.")  # fmt: skip
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads; 0 = all cores.")
@click.pass_context
def train(
    ctx: click.Context, /, data: Path, output: Path, name: str, preset: str | None, budget: float,
    others: tuple[str, ...], dry_run: bool, threads: int, **settings: Any,
) -> None:  # fmt: skip
    """Train a generator on DATA and write RUN/bundle.

    DATA holds classes.json, label/NAME.png, image/NAME.jpg or .png, and optionally
    instance/NAME.png. Stop with Ctrl-C at any time; the same command resumes. Watch it in
    RUN/samples/index.html or with tensorboard --logdir RUN.
    """
    import torch

    from training.config import parse_setting
    from training.finish import finish
    from training.loop import train as run
    from training.presets import resolve

    if threads:
        torch.set_num_threads(threads)
    default = click.core.ParameterSource.DEFAULT
    given = {k: v for k, v in settings.items() if ctx.get_parameter_source(k) is not default}
    given |= dict(parse_setting(text) for text in others)
    config = resolve(str(data), preset, budget, given)
    if dry_run:
        _print_plan(config)
        return
    state = run(config, output)
    if state.position < config.images:
        click.echo(f"stopped at {state.position} of {config.images} images; "
                   "the same command resumes", err=True)  # fmt: skip
        if "WORLD_SIZE" in os.environ:
            # Told to stop, or another node was: a launcher must not take that for the end.
            ctx.exit(STOPPED)
        return
    if int(os.environ.get("RANK", "0")):
        return  # under torchrun the first process alone writes
    bundle = finish(state, config, output / "bundle", name)
    click.echo(
        f"bundle {bundle.folder}; make it servable: hdsynth export {bundle.folder}", err=True
    )


def _print_plan(config: TrainConfig) -> None:
    """Say what would be trained and what it takes."""
    import dataclasses
    import json

    from training.crops import crop_rule
    from training.data import PairDataset, open_folder
    from training.memory import estimate

    data = open_folder(Path(config.data))
    dataset = PairDataset(data, crop_rule(config), config.seed)
    dataset.require_one_size(config.batch)
    height, width = dataset[0]["index"].shape
    needs = estimate(config, data.input(config.styles, config.edges), (height, width))
    click.echo(json.dumps(dataclasses.asdict(config), indent=2))
    click.echo(f"\n{len(dataset):,} pairs; the first crop has {width}x{height} pixels")
    for network, count in needs.parameters.items():
        click.echo(f"{network}: {count:,} weights")
    for part in ("weights", "gradients", "optimizer", "activations", "total"):
        click.echo(f"memory, {part}: {getattr(needs, part) / 1e9:.2f} GB")
    click.echo("The memory is an estimate per process: libraries and scratch space come on top.")
