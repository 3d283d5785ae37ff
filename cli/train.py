"""``hdsynth train``: from a folder of pairs to a bundle."""

from __future__ import annotations

import os
import typing
from pathlib import Path
from typing import Any

import click

from cli.options import FOLDER, LazyOptionsCommand


def _settings() -> list[click.Option]:
    """One option per training setting."""
    import dataclasses

    from training.config import TrainConfig

    types = typing.get_type_hints(TrainConfig)
    options = []
    for setting in dataclasses.fields(TrainConfig):
        if "help" not in setting.metadata:
            continue  # the data folder is an argument
        flag, kind = "--" + setting.name.replace("_", "-"), types[setting.name]
        options.append(
            click.Option(
                [f"{flag}/--no-{flag[2:]}" if kind is bool else flag],
                default=setting.default,
                help=setting.metadata["help"],
                show_default=setting.default is not None,
                type=_click_type(kind),
            )
        )
    return options


def _click_type(kind: Any) -> Any:
    if typing.get_origin(kind) is typing.Literal:
        return click.Choice(typing.get_args(kind))
    if kind in {int, float, bool, str}:
        return kind
    return (int, int) if kind == tuple[int, int] else str


@click.command(cls=LazyOptionsCommand, declared=_settings)
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "-o", "--output", type=FOLDER, required=True, help="Run folder; an existing run resumes."
)
@click.option("--name", default="model", show_default=True, help="Name of the model in its bundle.")
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads; 0 = all cores.")
def train(data: Path, output: Path, name: str, threads: int, **settings: Any) -> None:
    """Train a generator on DATA and write RUN/bundle.

    DATA holds classes.json, label/NAME.png, image/NAME.jpg or .png, and optionally
    instance/NAME.png. Stop with Ctrl-C at any time; the same command resumes.
    """
    import torch

    from training.config import TrainConfig
    from training.finish import write_bundle
    from training.loop import train as run

    if threads:
        torch.set_num_threads(threads)
    config = TrainConfig(data=str(data), **settings)
    state = run(config, output)
    if state.position < config.images:
        click.echo(f"stopped at {state.position} of {config.images} images; "
                   "the same command resumes", err=True)  # fmt: skip
        return
    if int(os.environ.get("RANK", "0")):
        return  # under torchrun the first process alone writes
    bundle = write_bundle(state, config, output / "bundle", name)
    click.echo(
        f"bundle {bundle.folder}; make it servable: hdsynth export {bundle.folder}", err=True
    )
