"""The one command, ``hdsynth``. Each subcommand imports its part of the product when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from cli.ablate import ablate
from cli.bench import bench
from cli.bundle import bundle
from cli.capacity import capacity
from cli.check import check
from cli.data import data
from cli.demo import demo
from cli.encode import encode
from cli.evaluate import evaluate, export_segmenter, train_segmenter
from cli.export import export, import_checkpoint
from cli.key import key
from cli.sample import sample
from cli.serve import serve
from cli.simulate import simulate
from cli.study import study
from cli.synthesize import synthesize
from cli.train import train

BAD_INPUT, BAD_BUNDLE, MISSING_PART, FAILED = 3, 4, 5, 1


class _Group(click.Group):
    """Turns the product's own errors into one line and an exit code of their kind."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ImportError, OSError, ValueError, RuntimeError, FloatingPointError) as error:
            if isinstance(error, click.exceptions.Exit | click.Abort):
                raise
            click.echo(f"hdsynth: {_one_line(error)}", err=True)
            sys.exit(_exit_code(error))


def _one_line(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        extra = {
            "torch": "train",
            "sklearn": "train",
            "onnx": "export",
            "onnxruntime": "cpu",
            "panda3d": "demo",
            "ray": "ray",
            "simpy": "simulation",
            "transformers": "huggingface",
            "torchmetrics": "fid",
            "matplotlib": "bench",
        }
        name = extra.get((error.name or "").partition(".")[0])
        if name:
            return f"this needs {error.name}: pip install 'hdsynth[{name}]'"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    return " ".join(str(error).split())


def _exit_code(error: Exception) -> int:
    if isinstance(error, ImportError):
        return MISSING_PART
    if type(error).__name__ in {"BundleError", "ReferenceCheckpointError"}:
        return BAD_BUNDLE
    return BAD_INPUT if isinstance(error, ValueError | OSError) else FAILED


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hdsynth")
def cli() -> None:
    """Turn label maps into photographs.

    \b
    Try it:            hdsynth sample scenes --count 4
                       hdsynth synthesize scenes -o photos --sheet sheet.png
    Serve it:          hdsynth serve
    Train your own:    hdsynth train DATA -o RUN, then hdsynth export RUN/bundle

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 unusable input, 4 unusable bundle or
    checkpoint, 5 an optional part is not installed, 75 training stopped early under torchrun.
    """  # noqa: D301, click reads the control character that keeps lines as they are


for command in (
    synthesize, serve, train, export, bundle, sample, data, encode, import_checkpoint, evaluate,
    train_segmenter, export_segmenter, ablate, study, bench, demo, key, check, capacity,
    simulate,
):  # fmt: skip
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the entry point of the ``hdsynth`` script."""
    cli.main(args=list(arguments) if arguments is not None else None, prog_name="hdsynth")
