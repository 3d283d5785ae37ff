"""``hdsynth serve``: the server and its page."""

from __future__ import annotations

from typing import Any

import click

from cli.options import LazyOptionsCommand


def _settings() -> list[click.Option]:
    """One option per setting of the server; they are read as the environment's texts are."""
    from service.settings import Settings
    from service.sources import is_list

    return [
        click.Option(
            ["--" + name.replace("_", "-")], type=str, help=_help(field), multiple=is_list(field)
        )
        for name, field in Settings.model_fields.items()
    ]


def _help(field: Any) -> str:
    from service.sources import text_of

    text = f"{field.description[0].upper()}{field.description[1:]}."
    return (
        f"{text}  [default: {text_of(field.default)}]" if field.default not in (None, ()) else text
    )


@click.command(cls=LazyOptionsCommand, declared=_settings)
@click.option(
    "--print-config", is_flag=True, help="Print every setting, and where it comes from, as TOML."
)
def serve(print_config: bool, **flags: str | tuple[str, ...] | None) -> None:
    """Serve models over REST and gRPC, with a page to try them at /.

    Every option is also an environment variable, HDSYNTH_PORT=9000 and so on, and an entry of the
    file that --config names: port = 9000. Options win over the environment, that over the file.
    """
    from pydantic import ValidationError

    from service.settings import Settings
    from service.sources import describe

    given: dict[str, Any] = {
        name: value if isinstance(value, str) else ",".join(value)
        for name, value in flags.items()
        if value
    }
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise click.UsageError(_first_fault(error, given)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if print_config:
        click.echo(describe(settings, given), nl=False)
        return
    from service.app import run

    run(settings)


def _first_fault(error: Any, flags: dict[str, Any]) -> str:
    fault = error.errors()[0]
    words = str(fault["msg"]).removeprefix("Value error, ")
    if not fault["loc"]:
        return words
    name = str(fault["loc"][0])
    if fault["type"] != "value_error" and isinstance(fault["input"], str):
        words = f"{words}, not {fault['input']!r}"
    return f"{'--' + name.replace('_', '-') if name in flags else name}: {words}"
