"""The options of ``hdsynth export`` that go beyond ONNX: TensorRT engines, a Triton repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import FOLDER, Command, Size

if TYPE_CHECKING:
    from export.parity import Feeds
    from model.bundle import Bundle
    from model.engine_files import StoredEngine
    from model.engine_key import Profile


class Batches(click.ParamType[tuple[int, ...]]):
    """Batch sizes, ``1,4``."""

    name = "N,N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Parse ``1,4``."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.isdecimal() and int(part) for part in parts):
            self.fail(f"{value!r} are no batch sizes; write them as 1,4", param, ctx)
        return tuple(sorted({int(part) for part in parts}))


def tensorrt_options(command: Command) -> Command:
    """Options for compiled engines and for the Triton repository."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option("--tensorrt", is_flag=True, help="Build TensorRT engines too."),
    click.option(
        "--tensorrt-rtx",
        is_flag=True,
        help="Build TensorRT-RTX engines too, for GeForce and RTX GPUs; needs no GPU to build.",
    ),
    click.option(
        "--sizes",
        type=Size(),
        multiple=True,
        default=["512x256"],
        show_default=True,
        help="Picture size that engines are built for; repeatable.",
    ),
    click.option(
        "--batches",
        type=Batches(),
        default="1,4",
        show_default=True,
        help="Batches that engines are tuned for; those in between run too.",
    ),
    click.option(
        "--compute-capability",
        "capabilities",
        multiple=True,
        metavar="X.Y",
        help="GPU architecture to build for, such as 8.9; repeatable.  [default: this GPU's]",
    ),
    click.option(
        "--engine-cache",
        type=FOLDER,
        envvar="HDSYNTH_ENGINE_CACHE",
        show_envvar=True,
        help="Where engines are kept.  [default: ~/.cache/hdsynth/engines]",
    ),
    click.option("--rebuild", is_flag=True, help="Build engines even where the cache has them."),
    click.option(
        "--triton-repository",
        type=FOLDER,
        help="Write a Triton model repository: of the TensorRT engines, else of the ONNX graph.",
    ),
    click.option(
        "--triton-cpu", is_flag=True, help="Make that repository for servers without a GPU."
    ),
)


def graphs_are_there(
    folder: Path,
    *,
    tensorrt: bool,
    tensorrt_rtx: bool,
    triton_repository: Path | None,
    triton_cpu: bool,
    **_: object,
) -> bool:
    """Whether ``export_further`` has work and the bundle already has the graphs for it.

    Then neither torch nor time is needed to export them once more. Raises BundleError.
    """
    from model.bundle import load_bundle

    needed = {"float16"} if tensorrt or tensorrt_rtx else set()
    if triton_repository:
        needed.add("float32" if triton_cpu else "float16")
    graphs = {e.precision for e in load_bundle(folder).engines if e.backend == "onnx"}
    return bool(needed) and needed <= graphs


def export_further(
    bundle: Bundle,
    *,
    tensorrt: bool,
    tensorrt_rtx: bool,
    sizes: Sequence[tuple[int, int]],
    batches: Sequence[int],
    capabilities: Sequence[str],
    engine_cache: Path | None,
    rebuild: bool,
    triton_repository: Path | None,
    triton_cpu: bool,
) -> None:
    """Do what ``tensorrt_options`` asked for, with a bundle that has its ONNX graphs.

    Raises what ``ensure_engine`` and the writers of Triton repositories raise, and ParityError.
    """
    if not (tensorrt or tensorrt_rtx or triton_repository):
        return
    from model.engine_files import default_cache
    from model.engine_key import batch_profiles

    profiles = batch_profiles(sizes, batches)
    cache = engine_cache or default_cache()
    targets: Sequence[str | None] = capabilities or [None]
    engines = {
        flavour: [
            _build(bundle, profiles, flavour, cache, capability, rebuild) for capability in targets
        ]
        for flavour, wanted in (("tensorrt", tensorrt), ("tensorrt_rtx", tensorrt_rtx))
        if wanted
    }
    if triton_repository is None:
        return
    from export.triton_repository import write_onnx_repository, write_tensorrt_repository

    if "tensorrt" in engines:
        written = write_tensorrt_repository(bundle, triton_repository, engines["tensorrt"])
    else:
        written = write_onnx_repository(
            bundle, triton_repository, "cpu" if triton_cpu else "gpu", batches, sizes
        )
    click.echo(f"Triton model {written.parent}, version {written.name}")


def _build(
    bundle: Bundle,
    profiles: Sequence[Profile],
    flavour: str,
    cache: Path,
    capability: str | None,
    rebuild: bool,
) -> StoredEngine:
    from export.to_tensorrt import ensure_engine

    stored = ensure_engine(
        bundle, profiles, flavour=flavour, cache=cache, capability=capability, rebuild=rebuild
    )
    if stored.parity is None and _can_verify(stored):
        stored = _verify(bundle, stored)
    told = (
        f"{100 * stored.parity.within_one:.3f} % of values within 1 grey level of torch"
        if stored.parity
        else "not compared with torch yet: that needs torch and a GPU it runs on"
    )
    megabytes = stored.path.stat().st_size / 1e6
    click.echo(f"{stored.path}  {megabytes:.1f} MB, {told}")
    return stored


def _can_verify(stored: StoredEngine) -> bool:
    from importlib.util import find_spec

    from model.gpu import NoGpuError, compute_capability

    try:
        here = compute_capability()
    except NoGpuError:
        return False
    # Nodes that only serve have no torch.
    return here == stored.key.compute_capability and find_spec("torch") is not None


def _verify(bundle: Bundle, stored: StoredEngine) -> StoredEngine:
    """Compare the engine with torch and note the result; a poor one is removed again.

    Raises ParityError.
    """
    import dataclasses

    from export.parity import ParityError, check_parity, measure_parity
    from model.engine_files import write_manifest
    from service.backends.base import EngineInput
    from service.backends.tensorrt_engine import TensorRTEngine

    key = stored.key
    engine = TensorRTEngine(bundle, key.flavour, stored.path.parent, key.profiles)

    def run(feeds: Feeds) -> Any:
        return engine.run(EngineInput(**feeds))  # type: ignore[arg-type]

    sizes = tuple(dict.fromkeys((p.width, p.height) for p in key.profiles))
    try:
        parity = measure_parity(bundle, run, sizes, max(p.batch for p in key.profiles))
        check_parity(parity, str(stored.path), "float16")
    except ParityError:
        for file in (stored.path.with_suffix(".json"), stored.path):
            file.unlink(missing_ok=True)
        raise
    finally:
        engine.close()
    verified = dataclasses.replace(stored, parity=parity)
    write_manifest(verified)
    return verified
