"""``hdsynth serve``: the server and its page."""

from __future__ import annotations

from typing import Any

import click

from cli.options import FOLDER


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="REST port; 0 = any free one.  [default: 8000]"
)
@click.option("--model", type=FOLDER, help="Bundle folder.  [default: the bundled facades model]")
@click.option("--backend", help="Engine to run on: onnx or torch.  [default: onnx]")
@click.option("--threads", type=click.IntRange(0), help="Threads of the engine; 0 = all cores.")
def serve(**flags: Any) -> None:
    """Serve a model over REST, with a page to try it at /.

    Every setting is also an environment variable: HDSYNTH_PORT=9000 and so on.
    """
    from service.app import run
    from service.settings import Settings

    given = {name: value for name, value in flags.items() if value is not None}
    run(Settings(**given))
