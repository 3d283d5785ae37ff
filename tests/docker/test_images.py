"""What the images are made of: a clean Dockerfile, whose every script is run here as well."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TARGETS = ("server-cpu", "server-gpu", "trainer")
PYTHON_WITH_TOOLS = Path(sys.executable).parent


def run(*command: str | Path, **options: Any) -> str:
    """Run a command that must succeed; returns what it printed."""
    result = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return str(result.stdout)


# ---- Texts ---------------------------------------------------------------------------------------


def test_hadolint_is_content() -> None:
    """The linter has nothing to say."""
    run(PYTHON_WITH_TOOLS / "hadolint", DOCKER / "Dockerfile")


def stages() -> dict[str, str]:
    """Return the instructions of every stage by its name."""
    parts = re.split(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)[1:]
    return {
        name: f"FROM {base}\n{text}"
        for base, name, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def with_bases(target: str) -> str:
    """Return the instructions that make up a target's image."""
    text = stages()[target]
    base = text.split()[1]
    return (with_bases(base) if base in stages() else "") + text


@pytest.mark.parametrize("target", TARGETS)
def test_images_are_nobodys_and_described(target: str) -> None:
    """Not root, with the labels of OCI, and made of a pinned base and one copied folder."""
    text = with_bases(target)
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    labels = set(re.findall(r"org\.opencontainers\.image\.([\w.]+)=", text))
    assert labels >= {"title", "description", "version", "revision", "created", "licenses"}
    assert "apt-get" not in text
    copied = re.findall(r"^COPY .*$", text, re.MULTILINE)
    assert copied[-1] == f"COPY --from=build-{target} /opt/hdsynth /opt/hdsynth"
    assert ("HEALTHCHECK --interval" in text) == target.startswith("server")


def test_bases_are_pinned_by_digest() -> None:
    """Nobody can change an image under our feet."""
    (base,) = re.findall(r"^ARG PYTHON=(.*)$", DOCKERFILE, re.MULTILINE)
    images = [service["image"] for service in COMPOSE["services"].values()]
    foreign = [image for image in images if not image.startswith("hdsynth/")]
    for image in [base, *foreign]:
        assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image)
    # CUDA's libraries lie under the version of that Python.
    version = base.split(":")[1].rsplit(".", 1)[0]
    assert {*re.findall(r"/lib/(python[\d.]+)/", DOCKERFILE)} == {f"python{version}"}
    assert {text.split()[1] for text in stages().values()} <= {"${PYTHON}", *stages()}


def test_every_command_is_a_script_of_ours() -> None:
    """RUN holds nothing that the tests below do not run as well."""
    text = DOCKERFILE.replace("\\\n", "")
    lines = re.findall(r"^RUN ((?:--mount=\S+ )*)(.*)$", text, re.MULTILINE)
    commands = {part.split()[0] for _, line in lines for part in line.split("&&")}
    assert {Path(command).name for command in commands} == {p.name for p in DOCKER.glob("*.sh")}


def context() -> list[str]:
    """Return what the build's context lets in."""
    lines = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith(("!", "#"))] == ["*", "**/__pycache__"]
    return [line[1:] for line in lines if line.startswith("!")]


def test_context_holds_what_the_wheel_is_made_of() -> None:
    """Everything that pyproject.toml packs is let into the build's context."""
    packed = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    about = PROJECT["project"]
    files = [about["readme"], *about["license-files"], "pyproject.toml"]
    assert {*packed, *files, "docker"} == {*context()}


def test_extras_and_versions_are_those_of_the_project() -> None:
    """Every extra that an image installs exists, and images have the project's version."""
    project = PROJECT["project"]
    for extras in re.findall(r"^ARG EXTRAS=(.*)$", DOCKERFILE, re.MULTILINE):
        assert {*extras.split(",")} <= project["optional-dependencies"].keys()
    assert f"ARG VERSION={project['version']}\n" in DOCKERFILE
    assert COMPOSE["services"]["server"]["image"] == f"hdsynth/server-cpu:{project['version']}"


# ---- Compose -------------------------------------------------------------------------------------


def test_compose_file_is_valid() -> None:
    """The file fits the schema of the Compose specification."""
    checker = PYTHON_WITH_TOOLS / "check-jsonschema"
    run(checker, "--builtin-schema", "vendor.compose-spec", DOCKER / "compose.yaml")


def test_everything_that_is_mounted_exists() -> None:
    """Files come from the checkout, dashboard and alerts from the chart itself."""
    mounts = {
        mount.split(":")[1]: (DOCKER / mount.split(":")[0]).resolve()
        for service in COMPOSE["services"].values()
        for mount in service.get("volumes", [])
        if mount.startswith(".")
    }
    assert all(path.is_file() for path in mounts.values()), mounts
    chart = ROOT / "k8s" / "hdsynth" / "files"
    assert {path for path in mounts.values() if path.parent == chart} == {*chart.iterdir()}
    # What the mounted settings name is mounted.
    (rules,) = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["rule_files"]
    (provider,) = yaml.safe_load((DOCKER / "grafana/dashboards.yaml").read_text())["providers"]
    assert mounts[rules] == chart / "rules.yaml"
    assert mounts[f"{provider['options']['path']}/dashboard.json"] == chart / "dashboard.json"
    named = {mount.split(":")[0] for service in COMPOSE["services"].values()
             for mount in service.get("volumes", []) if not mount.startswith(".")}  # fmt: skip
    assert named == COMPOSE["volumes"].keys()
    build = COMPOSE["services"]["server"]["build"]
    assert (DOCKER / build["context"] / build["dockerfile"]).is_file()
    assert build["target"] in stages()


def test_compose_server_is_confined_and_drains() -> None:
    """Read-only root, no capabilities, and a stop that waits longer than the server needs."""
    server = COMPOSE["services"]["server"]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    grace = int(server["stop_grace_period"].removesuffix("s"))
    assert grace > int(server["environment"]["HDSYNTH_SHUTDOWN_TIMEOUT_S"])


# ---- Scripts -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CPU server's folder, built by the scripts as the Dockerfile builds it."""
    folder = tmp_path_factory.mktemp("image")
    # A Python with pip and nothing else, as in the base image.
    run(sys.executable, "-m", "venv", folder / "python")
    clean = {
        **os.environ,
        "PATH": f"{folder}/python/bin:{os.environ['PATH']}",
        "PIP_NO_COMPILE": "0",  # the value of "compile", as pip reads it; it takes half of the time
    }
    source = folder / "source"
    for name in context():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, source / name)
    run(source / "docker" / "build-wheel.sh", folder / "dist", cwd=source, env=clean)
    # Without openvino and the other extras, which take longer than all the rest.
    made = folder / "hdsynth"
    said = run(DOCKER / "build-environment.sh", made, folder / "dist", "cpu", env=clean)
    assert "hdsynth, version" in said
    run(DOCKER / "build-sbom.sh", made, env=clean)
    # The last step in the image that runs.
    run(DOCKER / "remove-installers.sh", env=clean)
    return made


def test_environment_serves_and_has_no_installers(environment: Path, tmp_path: Path) -> None:
    """The command makes a photograph with what was installed, and pip was not."""
    scenes, photos = tmp_path / "scenes", tmp_path / "photos"
    alone = {"PATH": f"{environment}/bin:/usr/bin:/bin", "HOME": str(tmp_path)}
    run("hdsynth", "sample", scenes, "--count", "1", env=alone, cwd=tmp_path)
    run("hdsynth", "synthesize", scenes, "-o", photos, env=alone, cwd=tmp_path)
    assert len(list(photos.iterdir())) == 1
    programs = {path.name for path in (environment / "bin").iterdir()}
    assert "hdsynth" in programs
    assert not {"pip", "pip3", "gcc"} & programs
    packages = {path.name for path in (environment / "lib").glob("python3.*/site-packages/*")}
    assert not {"pip", "setuptools", "torch"} & packages


def test_bill_of_materials_names_every_package(environment: Path) -> None:
    """CycloneDX, with each installed package and its version."""
    bill = json.loads((environment / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    listed = {
        f"{part['name'].lower().replace('_', '-')}-{part['version']}" for part in bill["components"]
    }
    installed = {
        path.name.removesuffix(".dist-info").lower().replace("_", "-")
        for path in (environment / "lib").glob("python3.*/site-packages/*.dist-info")
    }
    assert len(installed) > 20
    assert installed <= listed


def test_ambiguous_wheels_are_refused(tmp_path: Path) -> None:
    """No wheel, or two, and the script says so before it makes anything."""
    command = [str(DOCKER / "build-environment.sh"), str(tmp_path / "made"), str(tmp_path), "cpu"]
    for wheels in ((), ("hdsynth-1.whl", "hdsynth-2.whl")):
        for name in wheels:
            (tmp_path / name).touch()
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert "must hold one hdsynth wheel" in result.stderr
    assert not (tmp_path / "made").exists()


def test_installers_are_removed(environment: Path) -> None:
    """The Python of the base image has no pip left."""
    tools = environment.parent / "python" / "bin"
    command = [str(tools / "python3"), "-c", "import pip"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "No module named 'pip'" in result.stderr
    assert not (tools / "pip").exists()
