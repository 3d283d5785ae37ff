"""``hdsynth demo``: the product at work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click

from cli.options import FILE, Size, model_option

SPEED = 6.0
"""Metres a second."""


@click.group()
def demo() -> None:
    """Show the product at work."""


@demo.command()
@click.option("--headless", is_flag=True, help="Open no window; write an animation.")
@click.option("-o", "--output", type=FILE, default="drive.gif", show_default=True,
              help="The animation: .gif or, with all colours, .webp.")  # fmt: skip
@click.option("--frames", type=click.IntRange(2), default=40, show_default=True,
              help="Length of the animation.")  # fmt: skip
@click.option("--fps", type=click.FloatRange(1, 120), default=8.0, show_default=True,
              help="Frames per second that the engine draws and sends.")  # fmt: skip
@click.option("--size", type=Size(), default="256x256", show_default=True,
              help="Of the label map and of the photograph.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the styles.")
@click.option("--steady", is_flag=True, help="Less flicker, at the cost of some sharpness.")
@click.option("--flicker", type=FILE,
              help="Instead: drive without and with --steady, write how much the photographs "
              "flicker.")  # fmt: skip
@model_option
@click.option("--backend", default="auto", show_default=True,
              help="Engine of the server started here.")  # fmt: skip
@click.option("--address", help="gRPC address of a server.  [default: one that is started here]")
@click.option("--key", help="API key for that server.")
def drive(
    headless: bool, output: Path, frames: int, fps: float, size: tuple[int, int], seed: int,
    steady: bool, flicker: Path | None, model: Path | None, backend: str, address: str | None,
    key: str | None,
) -> None:  # fmt: skip
    """Drive through a street in a game engine: label map | photograph.

    Panda3D, whose software renderer needs no GPU, draws label and instance ids; they are streamed
    to a server, whose photographs are shown. Needs the ``demo`` extra and the Python client. A
    model of other classes than the bundled one's does not know what the street is made of.
    """
    from hdsynth_client.stream import open_stream
    from hdsynth_client.stream_config import StreamConfig
    from hdsynth_client.types import Styles

    from cli.demo_drive.drive import drive as drive_along
    from cli.demo_drive.render import Renderer, pose_at
    from cli.demo_drive.street import build_street

    config = StreamConfig(
        format="raw",
        delivery="ordered" if headless or flicker else "latest",
        styles=Styles(seed),
        steady=steady,
    )
    with (
        _server(address, model, backend, size) as where,
        closing(Renderer(build_street(), *size)) as renderer,
    ):
        poses = [pose_at(number / fps, SPEED) for number in range(frames)]
        if flicker:
            from cli.demo_drive.flicker import compare

            flicker.write_text(compare(where, key, config, renderer, poses), encoding="utf-8")
        elif headless:
            with open_stream(where, config, key=key) as stream:
                found = drive_along(stream, renderer, poses, fps)
            from cli.demo_drive.picture import side_by_side, write_animation

            shots = (side_by_side(found.sent[n].label, p) for n, p in found.photos.items())
            write_animation(output, shots, fps)
            click.echo(f"{len(found.photos)} frames in {output}", err=True)
        else:
            from cli.demo_drive.window import show

            with open_stream(where, config, key=key, reconnect=True) as stream:
                show(stream, renderer, fps, SPEED)


@contextmanager
def _server(
    address: str | None, model: Path | None, backend: str, size: tuple[int, int]
) -> Iterator[str]:
    """Yield the address given, or that of a server which lives as long as the block."""
    if address is not None:
        yield address
        return
    from service.bench_server import local_server

    settings = {"model": model} if model else {}
    with local_server(backend=backend, buckets=f"{size[0]}x{size[1]}", **settings) as server:
        yield server.grpc_address
