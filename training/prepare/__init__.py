"""Turn public data sets, as downloaded, into the folder layout that training reads."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

from training.prepare.ade20k import read_ade20k
from training.prepare.celeba_hq import read_celeba_hq
from training.prepare.cityscapes import read_cityscapes
from training.prepare.facades import read_facades
from training.prepare.helen import read_helen
from training.prepare.nyu import read_nyu
from training.prepare.writer import Progress, Release, write_release

__all__ = ["PREPARERS", "Preparer", "Progress", "prepare"]

Preparer = Callable[[Path], Release]
"""Reads a release from its folder; see the functions for the layouts."""

PREPARERS: dict[str, Preparer] = {
    "cityscapes": read_cityscapes,
    "nyu": read_nyu,
    "ade20k": read_ade20k,
    "helen": read_helen,
    "celeba-hq": read_celeba_hq,
    "facades": read_facades,
}


def prepare(
    name: str, source: Path, target: Path, *, size: int | None = None, workers: int = 2
) -> Generator[Progress, None, None]:
    """Convert the release ``name`` in ``source`` to ``target/train`` and ``target/val``.

    Either folder is one that training and ``check_folder`` read. Iterate to do the work. The same
    call resumes where an earlier one stopped. ``size`` is the wanted shorter side in pixels,
    ``workers`` the number of threads. Raises, before anything is written, ValueError for an
    unknown name, FileNotFoundError for what the release lacks and ImportError for a missing
    extra; while it runs, what ``write_release`` raises.
    """
    if name not in PREPARERS:
        raise ValueError(f"no data set {name!r}; choose {', '.join(PREPARERS)}")
    return write_release(PREPARERS[name](source), target, size, workers)
