"""``hdsynth check``: whether a running server answers as it should."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cli.options import FILE

KEY_VARIABLE = "HDSYNTH_API_KEY"


@click.command()
@click.argument("face", type=click.Choice(["rest", "grpc", "stream"]))
@click.argument("address")
@click.option("--ca", type=FILE, help="PEM file with the authority of the server's certificate; "
              "turns TLS on for gRPC.")  # fmt: skip
def check(face: str, address: str, ca: Path | None) -> None:
    """Send a drawn scene to the server at ADDRESS and look at the photograph that comes back.

    ADDRESS is http://HOST:PORT or https://HOST:PORT for rest, HOST:PORT for grpc and stream. The
    environment variable HDSYNTH_API_KEY has the key, if one is needed. Exits with 0 if all is
    well, else with 1.
    """
    from service.check import check as check_server

    click.echo(check_server(face, address, ca, os.environ.get(KEY_VARIABLE)))
