"""``hdsynth bench stream``: how many frames per second does a server show, and how old are they?"""

from __future__ import annotations

from pathlib import Path

import click

from cli.options import FILE, Size, model_option


@click.command("stream")
@model_option
@click.option("--address", help="gRPC address of a server.  [default: one that is started here]")
@click.option("--key", help="API key for that server.")
@click.option("--backend", default="fake", show_default=True,
              help="Engine of the server started here; fake costs nothing.")  # fmt: skip
@click.option("--sessions", type=click.IntRange(1), default=1, show_default=True)
@click.option("--fps", type=click.FloatRange(0, min_open=True), default=30.0, show_default=True,
              help="Frames per second that each session sends.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True)
@click.option("--size", type=Size(), default="1024x512", show_default=True)
@click.option("--zlib/--raw", "packed", default=False, help="Deflate the maps, or send them raw.")
@click.option("--idle", "idle_s", type=click.FloatRange(0, min_open=True),
              help="Seconds that a stream of pings alone is kept open beside.")  # fmt: skip
@click.option("-o", "--output", type=FILE, help="Also write the table here, and JSON beside it.")
def bench_stream(
    model: Path | None, address: str | None, key: str | None, backend: str, sessions: int,
    fps: float, seconds: float, size: tuple[int, int], packed: bool, idle_s: float | None,
    output: Path | None,
) -> None:  # fmt: skip
    """Play drawn scenes as streams against a server and measure what comes back.

    Run it on an idle machine; client and server share its processors.
    """
    import asyncio
    import json
    import os
    from contextlib import ExitStack

    from service.bench import processor
    from service.bench_server import LocalServer, local_server
    from service.bench_stream import Load, Played, idle, play
    from service.bench_stream_report import ServerUse, markdown, summary

    cores = len(os.sched_getaffinity(0))
    load = Load(sessions, fps, seconds, size, packed)

    async def watch(server: LocalServer, series: list[float]) -> None:
        while True:
            series.append(server.memory_mb())
            await asyncio.sleep(seconds / 60)

    async def measure(
        address: str, server: LocalServer | None
    ) -> tuple[list[Played], float | None, list[float]]:
        memory: list[float] = []
        watching = asyncio.create_task(watch(server, memory)) if server else None
        idling = asyncio.create_task(idle(address, idle_s, key)) if idle_s else None
        played = await play(address, load, key)
        if watching:
            watching.cancel()
        return played, await idling if idling else None, memory

    with ExitStack() as stack:
        server = None
        if address is None:
            settings = {"model": model} if model else {}
            bucket = f"{size[0]}x{size[1]}"
            server = stack.enter_context(local_server(backend=backend, buckets=bucket, **settings))
            address = server.grpc_address
        before = server.cpu_seconds() if server else 0.0
        played, idle_lived, memory = asyncio.run(measure(address, server))
        use = ServerUse(server.cpu_seconds() - before, memory) if server else None
    where = f"backend {backend}" if server else f"the server at {address}"
    found = summary(load, played, use, idle_lived)
    table = markdown(found, f"{where}; {processor()}, {cores} cores")
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(table, encoding="utf-8")
        output.with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    click.echo(table)
