"""What users install holds the whole product, and says which version it is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Where each folder of the checkout lies in the wheel. Nothing else may be in there.
WHEEL_PLACES = {
    "cli": "cli",
    "export": "export",
    "model": "model",
    "models": "model/bundles",
    "proto/hdsynth": "hdsynth",
    "service": "service",
    "training": "training",
}


def files_under(folder: str) -> set[str]:
    """Return the files of one folder of the checkout, as paths relative to that folder."""
    paths = (ROOT / folder).rglob("*")
    return {
        path.relative_to(ROOT / folder).as_posix()
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts
    }


def project_version() -> str:
    """Return the version that pyproject.toml states."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(pyproject["project"]["version"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from that sdist, into a folder."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    """Return the path of the built wheel."""
    return built / f"hdsynth-{project_version()}-py3-none-any.whl"


def test_every_package_of_the_checkout_is_packaged() -> None:
    """A new top-level package must be given a place in the wheel."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == {"cli", "export", "model", "service", "training"}
    assert packages <= WHEEL_PLACES.keys()


def test_wheel_holds_exactly_the_packages_and_the_bundled_models(wheel: Path) -> None:
    """The wheel equals the tree: every module, static file, stub and model, and nothing more."""
    expected = {
        f"{place}/{name}" for folder, place in WHEEL_PLACES.items() for name in files_under(folder)
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert expected == {name for name in names if ".dist-info/" not in name}


def test_sdist_holds_everything_that_the_wheel_is_built_from(built: Path) -> None:
    """The sdist has every packaged file at its place in the checkout, and the tests beside it."""
    prefix = f"hdsynth-{project_version()}"
    with tarfile.open(built / f"{prefix}.tar.gz") as sdist:
        names = {name.removeprefix(f"{prefix}/") for name in sdist.getnames()}
    folders = [*WHEEL_PLACES, "tests"]
    expected = {f"{folder}/{name}" for folder in folders for name in files_under(folder)}
    assert expected | {"LICENSE", "README.md", "pyproject.toml"} <= names


def test_wheel_finds_its_bundled_model(wheel: Path, tmp_path: Path) -> None:
    """An unpacked wheel serves its own copy of the default model, not the checkout's."""
    shutil.unpack_archive(wheel, tmp_path, format="zip")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from model.bundled import bundled_model_path; print(bundled_model_path())"
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()) == tmp_path.resolve() / "model" / "bundles" / "facades"


def test_wheel_without_extras_asks_for_no_torch(wheel: Path) -> None:
    """Installing hdsynth to serve must not pull in torch."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode("utf-8")
    required = re.findall(r"^Requires-Dist: ([\w.-]+)(?!.*extra ==)", metadata, re.MULTILINE)
    assert "numpy" in required
    assert "torch" not in required


def test_changelog_and_project_agree_on_the_version() -> None:
    """The newest version of the changelog is the one that pyproject.toml builds."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    assert versions[0] == project_version()
