"""Who may import whom: cheap start-up, a server without torch, and packages kept apart."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["cli", "export", "model", "service", "training"]

IMPORT_WHOLE_PACKAGE = """
import importlib, pkgutil
package = importlib.import_module({name!r})
for module in pkgutil.walk_packages(package.__path__, {name!r} + "."):
    if not module.name.startswith("service.bench_adapters."):  # run by interpreters of their own
        importlib.import_module(module.name)
"""


def run_python(program: str, folder: Path) -> str:
    """Run a program in a fresh interpreter that starts in ``folder``; return what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def loaded(program: str, modules: set[str], folder: Path) -> str:
    """Return which of ``modules`` a fresh interpreter has loaded after running ``program``."""
    report = f"import sys; print(*sorted({modules!r} & sys.modules.keys()))"
    return run_python(f"{program}\n{report}", folder)


def check_contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the checkout in ``folder``."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["service", "cli"])
def test_no_module_of_the_server_loads_torch(name: str, tmp_path: Path) -> None:
    """Importing every module of the package leaves torch unloaded."""
    assert loaded(IMPORT_WHOLE_PACKAGE.format(name=name), {"torch"}, tmp_path) == ""


@pytest.mark.parametrize(
    "name",
    [
        "bundle",
        "bundle_archive",
        "bundled",
        "codec",
        "image_io",
        "scenes",
        "spec",
        "style_means",
        "styles",
    ],
)
def test_model_modules_for_serving_load_no_torch(name: str, tmp_path: Path) -> None:
    """What a server needs of the model package works where torch is not installed."""
    assert loaded(f"import model.{name}", {"torch"}, tmp_path) == ""


def test_command_line_starts_light(tmp_path: Path) -> None:
    """`hdsynth --help` waits for no server framework, no engine and no numerics."""
    heavy = {"fastapi", "numpy", "onnxruntime", "torch", "uvicorn"}
    assert loaded("import cli.main", heavy, tmp_path) == ""


@pytest.mark.parametrize("name", PACKAGES)
def test_package_names_resolve_to_ours(name: str, tmp_path: Path) -> None:
    """No other distribution shadows one of our plain package names."""
    origin = run_python(f"import {name}; print({name}.__file__)", tmp_path)
    assert Path(origin) == ROOT / name / "__init__.py"


def test_import_contracts_hold() -> None:
    """The contracts of pyproject.toml hold for the tree as it is."""
    result = check_contracts(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("model", "service"),
        ("training", "export"),
        ("export", "service"),
        ("service", "training"),
        ("service", "torch"),
        ("service", "model.generator"),
    ],
)
def test_import_contracts_catch_a_breach(package: str, forbidden: str, tmp_path: Path) -> None:
    """Each forbidden import, torch through the networks included, fails the check."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name)
    assert check_contracts(tmp_path).returncode == 0
    (tmp_path / package / "breach.py").write_text(f"import {forbidden}\n", encoding="utf-8")
    result = check_contracts(tmp_path)
    assert result.returncode == 1
    assert f"{package}.breach -> " in result.stdout
