"""``hdsynth bench serve``: how much does a server carry, and how long do callers wait?"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import FILE, Size, model_option, open_bundle

if TYPE_CHECKING:
    from service.bench_serve import Endpoint, Start, Work

FACES = ("rest", "grpc", "grpc-raw")
ADAPTERS = ("litserve", "bentoml", "rayserve", "null")


@click.command("serve")
@click.option("--url", help="Server to ask, such as http://localhost:8000.  [default: start one]")
@click.option("--grpc", "grpc_address", help="The same over gRPC, such as localhost:8001.")
@model_option
@click.option("--backend", default="onnx", show_default=True, help="Engine of a server to start.")
@click.option("--threads", type=click.IntRange(0), default=1, show_default=True,
              help="Of one inference, in every started server; 0 = one per core.")  # fmt: skip
@click.option("--max-batch", type=click.IntRange(1), default=8, show_default=True,
              help="Likewise.")  # fmt: skip
@click.option("--set", "others", multiple=True, metavar="NAME=VALUE",
              help="Any other setting of hdsynth serve, such as max_wait_s=1.")  # fmt: skip
@click.option("--face", "faces", type=click.Choice(FACES), multiple=True,
              default=["rest"], show_default=True,
              help="Faces of the started server; grpc-raw: maps as plain numbers.")  # fmt: skip
@click.option("--compare", "compared", type=click.Choice(ADAPTERS), multiple=True,
              help="Also measure another server; `null` answers at once.")  # fmt: skip
@click.option("--python", "pythons", multiple=True, metavar="NAME=PATH",
              help="Interpreter with the other server: litserve=env/bin/python.")  # fmt: skip
@click.option("--size", type=Size(), default="256x256", show_default=True, help="Of the scenes.")
@click.option("--clients", type=click.IntRange(1), multiple=True,
              help="Closed loop of so many callers; may be repeated.")  # fmt: skip
@click.option("--rate", "rates", type=click.FloatRange(0, min_open=True), multiple=True,
              help="Open loop of so many requests a second; may be repeated.")  # fmt: skip
@click.option("--trace", type=FILE, help="Open loop: a file of start times in seconds, one a line.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=10.0,
              show_default=True, help="Of each run.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=1, show_default=True,
              help="How often the servers take turns.")  # fmt: skip
@click.option("--title", default="Load test", show_default=True, help="Of the report.")
@click.option("-o", "--output", type=FILE,
              help="Also write the table here, and beside it .json and a plot.")  # fmt: skip
def bench_serve(
    url: str | None, grpc_address: str | None, model: Path | None, backend: str, threads: int,
    max_batch: int, others: tuple[str, ...], faces: tuple[str, ...], compared: tuple[str, ...],
    pythons: tuple[str, ...], size: tuple[int, int], clients: tuple[int, ...],
    rates: tuple[float, ...], trace: Path | None, seconds: float, rounds: int, title: str,
    output: Path | None,
) -> None:  # fmt: skip
    """Put load on a server: closed loops, independent callers, or a recorded trace.

    Without --url and --grpc a server is started, and ends afterwards. Run it on an idle machine.
    """
    from service.bench_serve import Endpoint, measure
    from service.bench_serve_report import markdown, write_report
    from service.bench_servers import BenchServerError

    if output:
        from service.bench_report import require_plot

        require_plot()
    works = _works(size, clients, rates, trace, seconds)
    if url or grpc_address:
        name = (url or grpc_address or "").removeprefix("http://")
        asked = Endpoint(name, f"{url}/v1/synthesize", grpc_address or "")
        servers: list[Start] = [lambda: nullcontext(asked)]
    else:
        settings = {"threads": threads, "max_batch": max_batch, "backend": backend}
        settings |= {"result_cache_mb": 0, "buckets": f"{size[0]}x{size[1]}"}
        settings |= {"model": open_bundle(model).folder, **_pairs(others, "--set")}
        servers = [_ours(settings, face, works[0]) for face in faces]
        servers += _others(compared, _pairs(pythons, "--python"), settings, works[0])
    try:
        results = measure(servers, works, rounds, lambda text: click.echo(text, err=True))
    except BenchServerError as error:
        raise click.ClickException(str(error)) from error
    about = (
        f"Scenes of {size[0]}x{size[1]} as PNG in, JPEG out; {seconds:g} s for each load and "
        f"server, {rounds} round{'s' * (rounds > 1)} by turns; engine {backend}, "
        f"{threads or 'all'} thread{'s' * (threads != 1)}, batches of at most {max_batch}."
    )
    click.echo(markdown(title, about, results, threads))
    if output:
        write_report(output, title, about, results, threads)
        click.echo(f"wrote {output}", err=True)


def _works(
    size: tuple[int, int], clients: tuple[int, ...], rates: tuple[float, ...],
    trace: Path | None, seconds: float,
) -> list[Work]:  # fmt: skip
    from service.bench_load import trace_times
    from service.bench_serve import Work

    works = [Work(size, seconds, clients=count) for count in clients]
    works += [Work(size, seconds, rate=rate) for rate in rates]
    if trace:
        try:
            works.append(Work(size, seconds, times=tuple(trace_times(trace))))
        except ValueError as error:
            raise click.ClickException(str(error)) from error
    return works or [Work(size, seconds, clients=8)]


def _ours(settings: Mapping[str, Any], face: str, work: Work) -> Start:
    from service.bench_servers import our_server

    @contextmanager
    def start() -> Iterator[Endpoint]:
        with our_server(settings, work) as started:
            yield started.face(face)

    return start


def _others(
    names: tuple[str, ...], pythons: Mapping[str, str], settings: Mapping[str, Any], work: Work
) -> list[Start]:
    """Prepare servers that ours is compared with, around the same model."""
    from model.bundle import load_bundle

    options = {"threads": settings["threads"], "max_batch": settings["max_batch"]}
    backend = str(settings["backend"])
    if backend.startswith("fake"):
        times = _fake_times(backend)
        options["fake"] = f"{times.get('base_ms', 0)},{times.get('image_ms', 0)}"
    else:
        bundle = load_bundle(Path(settings["model"]))
        options["model"] = Path(bundle.path(bundle.engine("onnx").file)).resolve()
    return [_other(name, pythons, options, work) for name in names]


def _other(name: str, pythons: Mapping[str, str], options: Mapping[str, Any], work: Work) -> Start:
    from service.bench_servers import other_server

    python = pythons.get(name, sys.executable if name == "null" else "")
    if not shutil.which(python):
        raise click.UsageError(
            f"--compare {name} needs --python {name}=PATH: the interpreter of an environment with "
            "it, numpy, pillow, onnxruntime, simplejpeg and python-multipart"
        )

    @contextmanager
    def start() -> Iterator[Endpoint]:
        with other_server(name, python, options, work) as started:
            yield started.endpoint

    return start


def _fake_times(backend: str) -> dict[str, str]:
    """Read ``fake:base_ms=5,image_ms=1``."""
    return _pairs(tuple(filter(None, backend.partition(":")[2].split(","))), "--backend")


def _pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, _) in zip(texts, pairs, strict=True):
        if not (name and equals):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
    return {name: value for name, _, value in pairs}
