"""The chart under Helm 3 and 4: what it renders is valid, and what users rely on holds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from cli.main import cli
from service.fleet_scaling import DOWN_PERIOD_S, Scaling
from service.settings import Settings
from tests.k8s.conftest import CACHE, CHART, KUBERNETES, ROOT, Manifest, Render, only, run_helm

VALUE_SETS = sorted((CHART / "ci").glob("*.yaml"))
CRDS = {
    "ScaledObject": "keda/keda.sh/v1alpha1",
    "ServiceMonitor": "prometheus-operator/monitoring.coreos.com/v1",
    "PrometheusRule": "prometheus-operator/monitoring.coreos.com/v1",
    "HTTPRoute": "gateway-api/gateway.networking.k8s.io/v1",
    # v1 made nothing of v1alpha2 invalid, and is not among the package's schemas.
    "GRPCRoute": "gateway-api/gateway.networking.k8s.io/v1alpha2",
    "Certificate": "cert-manager/cert-manager.io/v1",
}
"""Schemas of custom resources, as packages of @kubernetes-models."""


def names(path: Path) -> str:
    """Name a set of values in the test's id."""
    return path.stem


def container(manifests: list[Manifest]) -> dict[str, Any]:
    """Return the server's container."""
    (found,) = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def leaves(values: object) -> int:
    """Count the settings of a tree of values."""
    return sum(map(leaves, values.values())) if isinstance(values, dict) and values else 1


@pytest.mark.parametrize("values", VALUE_SETS, ids=names)
def test_lint_is_clean(helm: Path, values: Path) -> None:
    """`helm lint --strict` has nothing to say, schema of the values included."""
    result = run_helm(helm, "lint", "--strict", str(CHART), "--values", str(values))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("values", VALUE_SETS, ids=names)
def test_objects_fit_the_schemas_of_kubernetes(helm: Path, render: Render, values: Path) -> None:
    """Every object passes strict validation; image volumes exist from Kubernetes 1.31 on."""
    if helm.name == "helm3":
        return  # renders the same, as the test below shows, and validation takes long
    for manifest in render(values):
        if manifest["kind"] not in CRDS:
            for version in KUBERNETES:
                kubernetes_validate.validate(manifest, version, strict=True)


@pytest.fixture(scope="session")
def crd_models() -> Path:
    """Folder with the schemas of the custom resources; downloaded once."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    folder = CACHE / "crds"
    packages = sorted({path.split("/")[0] for path in CRDS.values()})
    if not all((folder / "node_modules/@kubernetes-models" / name).is_dir() for name in packages):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        wanted = [f"@kubernetes-models/{name}" for name in packages]
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", *wanted]
        subprocess.run(command, cwd=folder, check=True)
    return folder


VALIDATE = """
const {schemas, manifests} = JSON.parse(require("fs").readFileSync(0, "utf8"));
// Some of the packages are CommonJS, some are not.
const load = async (path) => { try { return require(path); } catch { return import(path); } };
(async () => {
  for (const manifest of manifests) {
    const {[manifest.kind]: Model} = await load("@kubernetes-models/" + schemas[manifest.kind]);
    try { new Model({...manifest, apiVersion: Model.apiVersion}).validate(); }
    catch (error) { console.log(manifest.kind + ": " + error.message); }
  }
})();
"""


def validate_custom(crd_models: Path, manifests: list[Manifest]) -> str:
    """Return the faults that the schemas of the custom resources find."""
    result = subprocess.run(
        ["node", "-e", VALIDATE],  # noqa: S607, wherever it is installed
        input=json.dumps({"schemas": CRDS, "manifests": manifests}, default=str),
        capture_output=True, text=True, cwd=crd_models, check=False,
    )  # fmt: skip
    assert not result.stderr, result.stderr
    return result.stdout


def test_custom_resources_fit_their_schemas(render: Render, crd_models: Path) -> None:
    """KEDA, Prometheus operator, Gateway API and cert-manager accept what the chart makes."""
    found = [m for values in VALUE_SETS for m in render(values) if m["kind"] in CRDS]
    assert {manifest["kind"] for manifest in found} == set(CRDS)
    assert validate_custom(crd_models, found) == ""


def test_schemas_of_custom_resources_find_faults(render: Render, crd_models: Path) -> None:
    """The check above can fail."""
    broken = only(render(CHART / "ci/keda.yaml"), "ScaledObject")
    broken["spec"]["maxReplicaCount"] = "many"
    assert "maxReplicaCount" in validate_custom(crd_models, [broken])


@pytest.mark.parametrize("values", VALUE_SETS, ids=names)
def test_both_versions_of_helm_render_the_same(
    values: Path, render: Render, request: pytest.FixtureRequest
) -> None:
    """Helm 3 and 4 agree on every object."""
    store: dict[Path, list[Manifest]] = request.config.stash.setdefault(RENDERED, {})
    manifests = sorted(render(values), key=lambda m: (m["kind"], m["metadata"]["name"]))
    assert store.setdefault(values, manifests) == manifests


RENDERED: pytest.StashKey[dict[Path, list[Manifest]]] = pytest.StashKey()


@pytest.mark.parametrize("values", VALUE_SETS, ids=names)
def test_selectors_survive_upgrades(render: Render, values: Path) -> None:
    """Selectors hold name and release alone, and match the pods."""
    for release in ("photos", "paintings"):
        deployment = only(render(values, release=release), "Deployment")
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert selector == {
            "app.kubernetes.io/name": "hdsynth",
            "app.kubernetes.io/instance": release,
        }
        assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_replicas_are_left_to_the_autoscaler(render: Render) -> None:
    """An upgrade does not undo what HPA or KEDA has decided."""
    assert only(render(), "Deployment")["spec"]["replicas"] == 1
    for name in ("cpu-only", "keda"):
        assert "replicas" not in only(render(CHART / f"ci/{name}.yaml"), "Deployment")["spec"]


@pytest.mark.parametrize("values", VALUE_SETS, ids=names)
def test_grace_is_longer_than_the_drain(render: Render, values: Path) -> None:
    """A pod is not killed while it drains."""
    manifests = render(values)
    settings = only_config(manifests)
    drain = sum(
        float(settings[f"HDSYNTH_{name}"]) for name in ("DRAIN_DELAY_S", "SHUTDOWN_TIMEOUT_S")
    )
    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > drain


def only_config(manifests: list[Manifest]) -> dict[str, str]:
    """Return the server's settings."""
    found = [
        m["data"] for m in manifests if m["kind"] == "ConfigMap" and "HDSYNTH_PORT" in m["data"]
    ]
    (settings,) = found
    assert isinstance(settings, dict)
    return settings


def test_too_short_a_grace_is_refused(helm: Path) -> None:
    """The message says what to change."""
    result = run_helm(helm, "template", "x", str(CHART), "--set", "drain.graceSeconds=50")
    assert result.returncode != 0
    assert "drain.graceSeconds must exceed" in result.stderr


def test_a_gpu_needs_the_gpu_image(helm: Path) -> None:
    """The CPU image on a GPU node would waste it in silence."""
    result = run_helm(helm, "template", "x", str(CHART), "--set", "gpu.enabled=true")
    assert "set image.repository" in result.stderr


def test_wrong_values_are_refused(helm: Path) -> None:
    """The schema knows every name and its type."""
    for wrong in ("gpu.enable=true", "server.maxBatch=0", "model.source=ftp", "image.digest=abc"):
        result = run_helm(helm, "template", "x", str(CHART), "--set", wrong)
        assert result.returncode != 0, wrong


@pytest.mark.parametrize("values", VALUE_SETS, ids=names)
def test_no_secret_lies_in_a_config_map(render: Render, values: Path) -> None:
    """Keys and certificates are mounted from Secrets, and only their paths are settings."""
    secrets = {"api_keys_file", "tls_certificate", "tls_key", "tls_client_ca"}
    for name, value in only_config(render(values)).items():
        setting = name.removeprefix("HDSYNTH_").lower()
        assert setting != "tls_key_password"
        assert setting not in secrets or value.startswith("/etc/hdsynth/")


@pytest.mark.parametrize("values", VALUE_SETS, ids=names)
def test_pods_are_restricted(render: Render, values: Path) -> None:
    """Every pod of the chart meets the restricted pod security standard, hostPath cache aside."""
    pods = [m["spec"] if m["kind"] == "Pod" else m["spec"]["template"]["spec"]
            for m in render(values) if m["kind"] in {"Deployment", "Job", "Pod"}]  # fmt: skip
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert not {"hostPID", "hostIPC", "hostNetwork"} & pod.keys()
        for part in [*pod["containers"], *pod.get("initContainers", [])]:
            context = part["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in part["resources"]["limits"]


def test_probes_have_paths_of_their_own(render: Render) -> None:
    """Startup, liveness and readiness are three questions; startup has 15 minutes."""
    server = container(render())
    kinds = ("startupProbe", "livenessProbe", "readinessProbe")
    assert [server[k]["httpGet"]["path"] for k in kinds] == ["/startupz", "/livez", "/readyz"]
    startup = server["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] == 900


def test_gpu_is_asked_for_and_tolerated(render: Render) -> None:
    """Request equals limit, the taint is tolerated, and the product is one of those listed."""
    manifests = render(CHART / "ci/gpu-tensorrt.yaml")
    resources = container(manifests)["resources"]
    assert resources["requests"] == resources["limits"]
    assert resources["limits"]["nvidia.com/gpu"] == 1
    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod[
        "tolerations"
    ]
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms["nodeSelectorTerms"][0]["matchExpressions"][0]["values"][1] == "NVIDIA-L40S"


def test_keda_counts_this_release_alone(render: Render) -> None:
    """Two releases in one cluster do not scale each other."""
    triggers = only(render(CHART / "ci/keda.yaml"), "ScaledObject")["spec"]["triggers"]
    assert len(triggers) == 2
    for trigger in triggers:
        assert 'namespace="art",service="photos-hdsynth"' in trigger["metadata"]["query"]


def test_servers_scale_on_wait_and_on_busy_engines(render: Render) -> None:
    """A fast engine's queue is full before its wait is long, so the wait alone is not enough."""
    scaler = only(render(CHART / "ci/cpu-only.yaml"), "HorizontalPodAutoscaler")["spec"]
    targets = {
        entry["pods"]["metric"]["name"]: entry["pods"]["target"]["averageValue"]
        for entry in scaler["metrics"]
    }
    assert targets == {
        "hdsynth_queue_wait_predicted_seconds": "1000m",
        "hdsynth_engine_busy_ratio": "600m",
    }


def test_the_simulated_autoscaler_is_that_of_the_chart(render: Render) -> None:
    """What `hdsynth simulate` says of a fleet holds for the one that is installed."""
    spec = only(render(CHART / "ci/cpu-only.yaml"), "HorizontalPodAutoscaler")["spec"]
    keda = only(render(CHART / "ci/keda.yaml"), "ScaledObject")["spec"]
    behaviours = [spec["behavior"], keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]]
    scaling = Scaling("hpa")
    for behaviour in behaviours:
        period, percent = int(DOWN_PERIOD_S), round(scaling.down_part * 100)
        assert behaviour["scaleDown"]["policies"] == [
            {"type": "Pods", "value": 1, "periodSeconds": period},
            {"type": "Percent", "value": percent, "periodSeconds": period},
        ]
    growth = round(scaling.most_after(100) - 100)
    assert behaviours[0]["scaleUp"]["policies"] == [
        {"type": "Percent", "value": growth, "periodSeconds": int(scaling.up_period_s)}
    ]
    assert "scaleUp" not in behaviours[1]  # KEDA's defaults, which `Scaling("keda")` knows


def test_network_is_denied_by_default(render: Render) -> None:
    """Only the three ports are open, and nothing but DNS is reached."""
    policy = only(render(), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    ports = {entry["port"] for rule in policy["ingress"] for entry in rule["ports"]}
    assert ports == {"http", "grpc", "metrics"}
    assert [[e["port"] for e in rule["ports"]] for rule in policy["egress"]] == [[53, 53]]


@pytest.mark.parametrize("values", VALUE_SETS, ids=names)
def test_settings_are_those_of_the_server(
    render: Render, values: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes every setting that the chart gives it; files stand at their places."""
    for name, value in only_config(render(values)).items():
        mounted = tmp_path / Path(value).name
        if value.startswith("/etc/hdsynth/"):
            mounted.write_text("", encoding="utf-8")
            monkeypatch.setenv(name, str(mounted))
        else:
            monkeypatch.setenv(name, value)
    assert Settings().port == 8000


@pytest.mark.parametrize("values", VALUE_SETS, ids=names)
def test_arguments_are_those_of_the_command(render: Render, values: Path, tmp_path: Path) -> None:
    """The image's command takes the arguments of every container: server, jobs and tests."""
    taken = set()
    for manifest in render(values):
        if manifest["kind"] not in {"Deployment", "Job", "Pod"}:
            continue
        spec = manifest["spec"]
        pod = spec if manifest["kind"] == "Pod" else spec["template"]["spec"]
        for part in [*pod["containers"], *pod.get("initContainers", [])]:
            mounted = tmp_path / "mounted"
            mounted.touch()
            words = [
                str(mounted) if word.startswith("/etc/hdsynth/") else word for word in part["args"]
            ]
            taken.add(command_that_takes(words))
    assert taken >= {"serve", "check"}


def command_that_takes(words: list[str]) -> str | None:
    """Parse a command line without running it; click raises for a word that it does not know."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        command = command.commands[words[0]]
        words = words[1:]
    return command.make_context(command.name, words).info_name


def test_values_stay_few() -> None:
    """At most 150 values."""
    assert leaves(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))) <= 150


def test_readme_is_made_from_the_values(tmp_path: Path) -> None:
    """Every group of values is described, and the committed README is current."""
    written = tmp_path / "README.md"
    subprocess.run([sys.executable, str(ROOT / "k8s/readme.py"), str(written)], check=True)
    text = written.read_text(encoding="utf-8")
    assert text == (CHART / "README.md").read_text(encoding="utf-8")
    for name in yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")):
        assert f"| `{name}" in text


def test_app_version_is_the_package_version() -> None:
    """Chart and package are released together."""
    import tomllib

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chart["appVersion"] == project["version"]
