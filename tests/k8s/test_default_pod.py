"""The default chart's container is started here as the node would start it, probed and stopped."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from tests.k8s.conftest import CHART, ROOT, Manifest, only, template

# A read-only root without capabilities, with the two folders that the chart mounts.
CONFINE = (
    "mount --make-rprivate / && mount -o remount,bind,ro / && mount -t tmpfs tmpfs /tmp && "
    "mount -t tmpfs tmpfs /dev/shm && cd /tmp && "
    'exec setpriv --no-new-privs --bounding-set=-all -- "$@"'
)
PORTS = {"http": "HDSYNTH_PORT", "grpc": "HDSYNTH_GRPC_PORT", "metrics": "HDSYNTH_METRICS_PORT"}


@dataclass(frozen=True)
class RunningPod:
    """The server's container as a process."""

    process: subprocess.Popen[bytes]
    spec: dict[str, Any]
    """The pod that it was started from."""
    ports: dict[str, int]
    """Where its named ports really are."""
    manifests: list[Manifest]
    """All objects of the release."""

    def probe(self, kind: str) -> httpx.Response:
        """Ask a probe as the node does."""
        asked = self.spec["containers"][0][kind]["httpGet"]
        url = f"http://127.0.0.1:{self.ports[asked['port']]}{asked['path']}"
        return httpx.get(url, timeout=self.spec["containers"][0][kind]["timeoutSeconds"])

    def grpc_health(self) -> int:
        """Ask the health service for the whole server."""
        with grpc.insecure_channel(f"127.0.0.1:{self.ports['grpc']}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=30).status)


def environment(manifests: list[Manifest], container: dict[str, Any]) -> dict[str, str]:
    """Resolve the environment of a container: the image's, envFrom, then env."""
    found = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **image_settings()}
    maps = {m["metadata"]["name"]: m["data"] for m in manifests if m["kind"] == "ConfigMap"}
    for source in container["envFrom"]:
        found |= maps[source["configMapRef"]["name"]]
    return found | {entry["name"]: entry["value"] for entry in container.get("env", [])}


def image_settings() -> dict[str, str]:
    """Return the variables that the image sets, other than its PATH."""
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    runtime = text[text.index("AS runtime") : text.index("AS server-gpu")]
    return dict(re.findall(r"^(?:ENV)? +(\w+)=(\w[\w.]*|/tmp)(?: \\)?$", runtime, re.MULTILINE))


def entrypoint() -> list[str]:
    """Return the command of the images."""
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    (found,) = re.findall(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)
    return list(json.loads(found))


def confinement() -> list[str]:
    """Return what to put before a command for a container's rights, where that is permitted.

    It is not where hdsynth itself lies in /tmp, which the container covers.
    """
    prefix = ["unshare", "--mount", "sh", "-ec", CONFINE, "sh"]
    try:
        tried = subprocess.run(
            [*prefix, sys.executable, "-c", ""], capture_output=True, check=False
        )
    except FileNotFoundError:
        return []
    return prefix if tried.returncode == 0 else []


@pytest.fixture
def pod(helm4: Path, tmp_path: Path) -> Iterator[RunningPod]:
    """The pod of the default chart, on free ports, started and ready."""
    manifests = template(helm4, CHART)
    spec = only(manifests, "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    told = environment(manifests, container)
    for port in container["ports"]:
        assert told[PORTS[port["name"]]] == str(port["containerPort"])
        told[PORTS[port["name"]]] = "0"
    log = tmp_path / "log"
    command = [*container.get("command", entrypoint()), *container.get("args", [])]
    with log.open("wb") as output:
        process = subprocess.Popen([*confinement(), *command], env=told, stderr=output)
    ports: dict[str, int] = {}
    while process.poll() is None and len(ports) < len(PORTS):
        time.sleep(0.1)
        text = log.read_text()
        ports = {
            name: int(found[1])
            for name, words in (
                ("http", r"http://\S+:(\d+) serves"),
                ("grpc", r"gRPC at \S+:(\d+)"),
                ("metrics", r"metrics at http://\S+:(\d+)/metrics"),
            )
            if (found := re.search(words, text))
        }
    assert process.poll() is None, log.read_text()
    yield RunningPod(process, spec, ports, manifests)
    process.kill()
    process.wait()


def test_image_settings_are_read() -> None:
    """The tests' reading of the Dockerfile finds what containers rely on."""
    assert image_settings()["HOME"] == "/tmp"  # noqa: S108, a mounted one
    assert image_settings()["HDSYNTH_HOST"] == "0.0.0.0"  # noqa: S104, in a pod
    assert entrypoint() == ["hdsynth"]


def scene(width: int, height: int, seed: int) -> bytes:
    """Draw blocks of random classes, as a PNG file."""
    blocks = np.random.default_rng(seed).integers(0, 11, (height // 32, width // 32))
    stream = io.BytesIO()
    Image.fromarray(blocks.astype(np.uint8).repeat(32, 0).repeat(32, 1)).save(stream, "PNG")
    return stream.getvalue()


def synthesize(url: str, label: bytes) -> int:
    """Send a scene; returns the status code."""
    return httpx.post(f"{url}/v1/synthesize", files={"label": label}, timeout=60).status_code


def decoded(pod: RunningPod) -> float:
    """Count the scenes that the server has taken in."""
    text = httpx.get(f"http://127.0.0.1:{pod.ports['metrics']}/metrics").text
    found = re.search(
        r'^hdsynth_stage_duration_seconds_count{stage="decode"} (\S+)$', text, re.MULTILINE
    )
    return float(found[1]) if found else 0


def test_pod_starts_answers_and_drains(pod: RunningPod) -> None:
    """Probes and faces answer; SIGTERM takes readiness, and what runs still succeeds."""
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert pod.probe(kind).status_code == 200
    assert pod.grpc_health() == health_pb2.HealthCheckResponse.SERVING
    assert docker_health(pod) == 0
    for face in ("rest", "grpc", "stream"):
        assert face in helm_test(pod, face)
    url = f"http://127.0.0.1:{pod.ports['http']}"

    before = decoded(pod)
    with ThreadPoolExecutor(4) as callers:
        running = [
            callers.submit(synthesize, url, scene(1024, 512, seed=number)) for number in range(4)
        ]
        while decoded(pod) < before + len(running):
            time.sleep(0.01)
        assert not all(request.done() for request in running)
        pod.process.send_signal(signal.SIGTERM)
        while pod.probe("readinessProbe").status_code != 503:
            time.sleep(0.05)
        assert pod.probe("livenessProbe").status_code == 200
        assert pod.grpc_health() == health_pb2.HealthCheckResponse.NOT_SERVING
        # Balancers that do not know it yet still send.
        assert synthesize(url, scene(64, 64, seed=0)) == 200
        assert [request.result() for request in running] == [200] * 4
    assert pod.process.wait(timeout=pod.spec["terminationGracePeriodSeconds"]) == 0
    assert docker_health(pod) != 0


def helm_test(pod: RunningPod, face: str) -> str:
    """Run what `helm test` runs in its pod for a face; returns what it says."""
    service = only(pod.manifests, "Service")
    name = f"{service['metadata']['name']}-test-{face}"
    (found,) = [m for m in pod.manifests if m["metadata"]["name"] == name]
    *words, address = found["spec"]["containers"][0]["args"]
    scheme, _, host = address.rpartition("//")
    reached = {
        f"{service['metadata']['name']}:{port['port']}": pod.ports[port["targetPort"]]
        for port in service["spec"]["ports"]
    }
    arguments = [*words, f"{scheme}//" * bool(scheme) + f"127.0.0.1:{reached[host]}"]
    command = [str(Path(sys.executable).with_name("hdsynth")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def docker_health(pod: RunningPod) -> int:
    """Run the image's health check, which Docker does in the server's container."""
    command = [sys.executable, str(ROOT / "docker" / "healthcheck.py")]
    told = {**os.environ, "HDSYNTH_METRICS_PORT": str(pod.ports["metrics"])}
    return subprocess.run(command, env=told, capture_output=True, check=False).returncode
