"""``hdsynth serve``: the server and its page."""

from __future__ import annotations

from typing import Any

import click

from cli.options import LazyOptionsCommand


def _settings() -> list[click.Option]:
    """One option per setting of the server; they are read as the environment's texts are."""
    from service.settings import Settings

    return [
        click.Option(["--" + name.replace("_", "-")], type=str, help=_help(field))
        for name, field in Settings.model_fields.items()
    ]


def _help(field: Any) -> str:
    text = f"{field.description[0].upper()}{field.description[1:]}."
    if field.default is None:
        return text
    default = (
        "x".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
    )
    return f"{text}  [default: {default}]"


@click.command(cls=LazyOptionsCommand, declared=_settings)
def serve(**flags: str | None) -> None:
    """Serve a model over REST, with a page to try it at /.

    Every option is also an environment variable, HDSYNTH_PORT=9000 and so on; options win.
    """
    from pydantic import ValidationError

    from service.app import run
    from service.settings import Settings

    try:
        settings = Settings(**{k: v for k, v in flags.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        where = f"--{str(first['loc'][0]).replace('_', '-')}: " if first["loc"] else ""
        raise click.UsageError(f"{where}{first['msg']}") from error
    run(settings)
