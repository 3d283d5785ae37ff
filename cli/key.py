"""``hdsynth key``: a new API key for the server."""

from __future__ import annotations

import click


@click.command()
@click.argument("name")
def key(name: str) -> None:
    r"""Draw an API key for NAME, and the line by which the server knows it.

    The key goes to the terminal (stderr), this once; the line, which holds only its hash, to
    the output: hdsynth key alice >> keys. Then: hdsynth serve --api-keys-file keys
    """
    from service.auth import new_key

    try:
        secret, line = new_key(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"The key of {name}, which is stored nowhere: {secret}", err=True)
    click.echo(line)
