"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from model.bundle import Bundle

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


class LazyOptionsCommand(click.Command):
    """A command some of whose options are declared elsewhere, and read only when it is used.

    ``declared`` returns them; importing their declaration at start-up would slow every command.
    """

    def __init__(
        self, *args: Any, declared: Callable[[], list[click.Option]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._declared = declared

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters, the declared ones, and --help."""
        *own, help_option = super().get_params(ctx)
        return [*own, *self._declared(), help_option]


class Size(click.ParamType[tuple[int, int]]):
    """A picture size, WIDTHxHEIGHT in pixels."""

    name = "WxH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Parse ``512x256``."""
        if isinstance(value, tuple):
            return value
        width, _, height = str(value).lower().partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            self.fail(f"{value!r} is not a size; write WIDTHxHEIGHT, such as 1024x512", param, ctx)
        return int(width), int(height)


def model_option(command: Command) -> Command:
    """``--model``: which bundle to use."""
    option = click.option(
        "--model",
        type=FOLDER,
        help="Bundle folder.  [default: the bundled facades model]",
    )
    return option(command)


def open_bundle(folder: Path | None) -> Bundle:
    """Load the bundle in ``folder``, or the bundled model."""
    from model.bundle import load_bundle
    from model.bundled import bundled_model_path

    return load_bundle(folder or bundled_model_path())
