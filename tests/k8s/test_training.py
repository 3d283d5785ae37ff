"""The training chart: valid objects, whose command line trains two pods that survive eviction."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import kubernetes_validate
import numpy as np
import pytest
import safetensors
from PIL import Image

from model.bundle import load_bundle
from model.scenes import CLASSES, PALETTE, draw_scene
from tests.k8s.conftest import KUBERNETES, ROOT, Manifest, only, run_helm, template

CHART = ROOT / "k8s" / "training"
VALUE_SETS = sorted((CHART / "ci").glob("*.yaml"))


def names(path: Path) -> str:
    """Name a set of values in the test's id."""
    return path.stem


def render(helm: Path, values: Path, *more: str) -> list[Manifest]:
    """Render the training chart."""
    return template(helm, CHART, "--values", str(values), *more)


def pods(manifests: list[Manifest]) -> list[dict[str, Any]]:
    """Return the templates of all pods, whichever object has them."""
    for manifest in manifests:
        if manifest["kind"] == "PyTorchJob":
            return [r["template"] for r in manifest["spec"]["pytorchReplicaSpecs"].values()]
    jobs = only(manifests, "TrainingRuntime")["spec"]["template"]["spec"]["replicatedJobs"]
    return [job["template"]["spec"]["template"] for job in jobs]


@pytest.mark.parametrize("values", VALUE_SETS, ids=names)
def test_lint_is_clean(helm: Path, values: Path) -> None:
    """`helm lint --strict` has nothing to say, schema of the values included."""
    result = run_helm(helm, "lint", "--strict", str(CHART), "--values", str(values))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("values", VALUE_SETS, ids=names)
def test_both_versions_of_helm_render_the_same(helm: Path, helm4: Path, values: Path) -> None:
    """Helm 3 and 4 agree on every object."""
    assert render(helm, values) == render(helm4, values)


@pytest.mark.parametrize("wrong", ["kind=Job", "nodes=0", "gpu.count=2", "graceSeconds=30"])
def test_wrong_values_are_refused(helm: Path, wrong: str) -> None:
    """The schema knows every name and its type."""
    values = ["--values", str(VALUE_SETS[0]), "--set", wrong]
    assert run_helm(helm, "template", "x", str(CHART), *values).returncode != 0


def test_missing_claims_are_asked_for(helm: Path) -> None:
    """The message says which value is needed."""
    assert "data.claimName is needed" in run_helm(helm, "template", "x", str(CHART)).stderr


@pytest.mark.parametrize("values", VALUE_SETS, ids=names)
def test_objects_fit_the_models_of_the_operators(helm4: Path, values: Path) -> None:
    """Nothing is unknown to the operators' published models, and nothing has a wrong type."""
    for manifest in render(helm4, values):
        assert known_part(manifest) == manifest


def known_part(manifest: Manifest) -> Any:
    """Return what an operator's own Python models keep of an object; raises for wrong types."""
    if manifest["kind"] == "PyTorchJob":
        return known_to_training_operator(manifest, "KubeflowOrgV1PyTorchJob")
    trainer: Any = importlib.import_module("kubeflow_trainer_api.models")
    kept = getattr(trainer, "TrainerV1alpha1" + manifest["kind"]).from_dict(manifest)
    return kept.to_dict()


def known_to_training_operator(value: Any, kind: str) -> Any:
    """Keep what a model of kubeflow-training has names for; pod templates are checked below."""
    models: Any = importlib.import_module("kubeflow.training.models")
    if kind.startswith("dict(str, "):
        inner = kind.removeprefix("dict(str, ").removesuffix(")")
        return {key: known_to_training_operator(part, inner) for key, part in value.items()}
    if not kind.startswith("Kubeflow"):
        assert kind.startswith("V1") or type(value).__name__ == kind, f"{value!r} is no {kind}"
        return value
    model = getattr(models, kind)
    return {
        key: known_to_training_operator(value[key], model.openapi_types[name])
        for name, key in model.attribute_map.items()
        if key in value
    }


def test_models_of_the_operators_find_faults(helm4: Path) -> None:
    """The check above can fail, for either operator."""
    job = only(render(helm4, CHART / "ci/pytorchjob.yaml"), "PyTorchJob")
    job["spec"]["pytorchReplicaSpecs"]["Master"]["restart"] = "OnFailure"
    assert known_part(job) != job
    job["spec"]["runPolicy"]["backoffLimit"] = "20"
    with pytest.raises(AssertionError, match="is no int"):
        known_part(job)
    runtime = only(render(helm4, CHART / "ci/global.yaml"), "TrainingRuntime")
    runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["pods"] = 2
    assert known_part(runtime) != runtime


@pytest.mark.parametrize("values", VALUE_SETS, ids=names)
def test_pods_are_valid_and_restricted(helm4: Path, values: Path) -> None:
    """Kubernetes takes the pods, and they meet the restricted pod security standard."""
    for made in pods(render(helm4, values)):
        pod = {"apiVersion": "v1", "kind": "Pod", **made}
        pod["metadata"] = {"name": "x", **made["metadata"]}
        for version in KUBERNETES:
            kubernetes_validate.validate(pod, version, strict=True)
        spec = made["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is False
        # torchrun gives its processes 30 s before it kills them.
        assert spec["terminationGracePeriodSeconds"] > 30
        (container,) = spec["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {m["mountPath"] for m in container["volumeMounts"]} >= {"/tmp", "/dev/shm"}  # noqa: S108, mounted


def test_second_stage_starts_from_the_first(helm4: Path) -> None:
    """The two stages of the recipe share claims, and the second begins with the first one's run."""
    first, second = (
        pods(render(helm4, CHART / f"ci/{stage}.yaml"))[0]["spec"] for stage in ("global", "local")
    )
    assert first["volumes"] == second["volumes"]
    first_command, command = (pod["containers"][0]["command"] for pod in (first, second))
    run = first_command[first_command.index("--output") + 1]
    assert command[command.index("--init") + 1] == run
    assert command[command.index("--output") + 1] != run


def test_each_process_has_a_gpu(helm4: Path) -> None:
    """As many GPUs are asked for as processes are started on a node."""
    manifests = render(helm4, CHART / "ci/global.yaml")
    limits = pods(manifests)[0]["spec"]["containers"][0]["resources"]["limits"]
    trainer = only(manifests, "TrainJob")["spec"]["trainer"]
    assert limits["nvidia.com/gpu"] == trainer["numProcPerNode"] == 4


# ---- For real ----------------------------------------------------------------------------------

SMALL = [
    "--images", "160", "--crop", "32", "--scale", "32", "48", "--width", "4", "--downsamplings",
    "2", "--blocks", "1", "--set", "discriminator_width=4", "--perceptual", "0", "--batch", "1",
    "--workers", "0", "--checkpoint-every", "100000", "--threads", "1", "--set", "ema_images=4",
]  # fmt: skip


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """The claim with a data set of two drawn pairs."""
    folder = tmp_path / "data" / "facades"
    for kind in ("label", "instance", "image"):
        (folder / kind).mkdir(parents=True)
    palette = np.array(PALETTE, np.uint8)
    for seed in range(2):
        scene = draw_scene(80, 64, seed)
        for kind, pixels in (
            ("label", scene.label),
            ("instance", scene.instance),
            ("image", palette[scene.label]),
        ):
            Image.fromarray(pixels).save(folder / kind / f"{seed}.png")
    (folder / "classes.json").write_text(json.dumps({"classes": CLASSES, "palette": PALETTE}))
    return tmp_path


def start_pods(job: Manifest, volumes: Path, log: Path) -> list[subprocess.Popen[bytes]]:
    """Start the pods of a PyTorchJob as processes, with what the training operator tells them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    roles = job["spec"]["pytorchReplicaSpecs"]
    replicas = [
        roles[role] for role in ("Master", "Worker") for _ in range(roles[role]["replicas"])
    ]
    started = []
    for rank, replica in enumerate(replicas):
        (container,) = replica["template"]["spec"]["containers"]
        command = [
            word.replace("/data", f"{volumes}/data").replace("/runs", f"{volumes}/runs")
            for word in container["command"]
        ]
        told = {
            "MASTER_ADDR": "localhost", "MASTER_PORT": port, "RANK": str(rank),
            "WORLD_SIZE": str(len(replicas)), "PET_NNODES": str(len(replicas)),
            "PET_NPROC_PER_NODE": job["spec"]["nprocPerNode"], "PET_NODE_RANK": str(rank),
            "PET_MASTER_ADDR": "localhost", "PET_MASTER_PORT": port,
        }  # fmt: skip
        tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {"PATH": tools, "HOME": str(volumes), "OMP_NUM_THREADS": "1", **told}
        with (log.parent / f"{log.name}-{rank}").open("wb") as output:
            started.append(
                subprocess.Popen(
                    command, env=environment, stdout=output, stderr=output, cwd=volumes
                )
            )
    return started


def position(run: Path) -> int:
    """Images that the checkpoint of a run has seen."""
    with safetensors.safe_open(run / "checkpoint.safetensors", "pt") as saved:
        return int(saved.metadata()["position"])


def test_two_pods_train_and_resume_after_eviction(helm4: Path, pairs: Path) -> None:
    """One pod is told to go: both save and fail, so are started anew; then they finish."""
    arguments = ["--set-json", f"args={json.dumps(SMALL)}"]
    job = only(render(helm4, CHART / "ci/cpu.yaml", *arguments), "PyTorchJob")
    assert job["spec"]["pytorchReplicaSpecs"]["Master"]["restartPolicy"] == "OnFailure"
    run = pairs / "runs" / "facades"

    first = start_pods(job, pairs, pairs / "first")
    progress = pairs / "first-0"
    deadline = time.monotonic() + 120
    while b"img/s" not in progress.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.1)
    first[1].send_signal(signal.SIGTERM)
    codes = [pod.wait(timeout=60) for pod in first]
    logs = "".join((pairs / f"first-{rank}").read_text() for rank in range(2))
    assert all(codes), logs
    stopped_at = position(run)
    assert 0 < stopped_at < 160, logs

    second = start_pods(job, pairs, pairs / "second")
    codes = [pod.wait(timeout=120) for pod in second]
    logs = "".join((pairs / f"second-{rank}").read_text() for rank in range(2))
    assert codes == [0, 0], logs
    assert f"{stopped_at}/160" in (pairs / "second-0").read_text(), logs
    assert position(run) == 160
    assert load_bundle(run / "bundle").generator.width == 4
