"""``hdsynth study``: ask people which pictures they prefer."""

from __future__ import annotations

from pathlib import Path

import click

from cli.options import FILE

EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.argument("folders", nargs=-1, required=True, type=EXISTING_FOLDER)
@click.option("--labels", type=EXISTING_FOLDER, help="Folder with coloured label maps to show too.")
@click.option("--timed", is_flag=True, help="Show the pictures for 1/8 s to 8 s only.")
@click.option("--votes", type=click.IntRange(1), default=50, show_default=True,
              help="Questions per rater; every tenth checks attention.")  # fmt: skip
@click.option("--database", type=FILE, default=Path("study.sqlite"), show_default=True,
              help="File that keeps the votes; an existing study goes on.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True,
              help="Port to listen on.")  # fmt: skip
@click.option("--report", "report_only", is_flag=True,
              help="Print the report of the votes so far and end.")  # fmt: skip
def study(
    folders: tuple[Path, ...], labels: Path | None, timed: bool, votes: int, database: Path,
    host: str, port: int, report_only: bool,
) -> None:  # fmt: skip
    """Serve a page on which raters choose between the pictures of two systems.

    Every folder holds the pictures of one system, named like the scenes; pairs of systems,
    scenes and sides are drawn at random. Votes carry no name, address or cookie.
    """
    import secrets
    import socket

    import uvicorn

    from training.study.app import create_app
    from training.study.report import as_markdown, summarise
    from training.study.trials import Study
    from training.study.votes import Votes

    compared = Study(folders, labels, timed)
    store = Votes(database)
    if report_only:
        click.echo(as_markdown(summarise(store.all())), nl=False)
        return
    key = secrets.token_urlsafe(16)
    with socket.create_server((host, port)) as listener:
        address = f"http://{host}:{listener.getsockname()[1]}"
        click.echo(
            f"raters:  {address}/\nreport:  {address}/report?key={key}\n"
            f"votes:   {address}/votes.csv?key={key}",
            err=True,
        )
        app = create_app(compared, store, votes, key)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
