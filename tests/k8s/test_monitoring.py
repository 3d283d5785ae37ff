"""Alerts and dashboard: unit-tested, described, and fed by what a real server exports."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from service.check import check
from tests.k8s.conftest import CHART, ROOT, Manifest, only, template
from tests.service.conftest import Server, start_server, stop_server

RULES = CHART / "files" / "rules.yaml"
UNIT_TESTS = ROOT / "tests" / "k8s" / "alerts.yaml"
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
EXPRESSIONS = [(p["title"], t["expr"]) for p in DASHBOARD["panels"] for t in p.get("targets", [])]
QUIET = {"Refused for lack of room", "Given up by callers", "Engines started anew"}
"""Panels with nothing to show for a server that is well."""


def tool(name: str) -> str:
    """Return a program of Debian's package `prometheus`, or skip the test."""
    if found := shutil.which(name):
        return found
    return pytest.skip(f"needs {name}: apt-get install --no-install-recommends prometheus")


# ---- Alerts --------------------------------------------------------------------------------------


def test_rules_pass_their_unit_tests() -> None:
    """The rules are valid, and every alert fires when it should and not otherwise."""
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(UNIT_TESTS)]):
        result = subprocess.run(
            [tool("promtool"), *command], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_has_unit_tests() -> None:
    """Of each there is a moment at which it fires and one at which it does not."""
    cases = [
        (case["alertname"], bool(case.get("exp_alerts")))
        for test in yaml.safe_load(UNIT_TESTS.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    assert {*cases} == {(rule["alert"], fires) for rule in ALERTS for fires in (True, False)}


def test_every_alert_has_a_runbook() -> None:
    """The alert's link leads to a section of the handbook, and every such section to an alert."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    sections = {
        title.lower(): title for title in re.findall(r"^#+ (Hdsynth\w+)$", text, re.MULTILINE)
    }
    for rule in ALERTS:
        file, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert file == "docs/operations.md"
        assert sections.pop(anchor) == rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
    assert not sections


# ---- A live server -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server around the fake engine, which has answered on every face."""
    log = tmp_path_factory.mktemp("server") / "log"
    server = start_server(log, backend="fake:image_ms=5", buckets="64x64")
    use(server)
    yield server
    stop_server(server)


def use(server: Server) -> None:
    """Ask for a photograph on every face."""
    check("rest", server.url, None, None)
    for face in ("grpc", "stream"):
        check(face, server.grpc_address, None, None)


def test_only_exported_metrics_are_named(server: Server, helm4: Path) -> None:
    """Dashboard, alerts, autoscalers and handbook name nothing that the server does not export."""
    scrape = httpx.get(f"{server.metrics_url}/metrics").text
    exported = set(re.findall(r"^# TYPE (hdsynth_\w+) ", scrape, re.MULTILINE))
    assert len(exported) > 15
    scalers = [
        yaml.safe_dump(only(template(helm4, CHART, "--set", f"autoscaling.type={kind}"), name))
        for kind, name in (("keda", "ScaledObject"), ("hpa", "HorizontalPodAutoscaler"))
    ]
    sources = {
        "dashboard": json.dumps(DASHBOARD),
        "rules": RULES.read_text(encoding="utf-8"),
        "handbook": (ROOT / "docs" / "operations.md").read_text(encoding="utf-8"),
        "scalers": "".join(scalers),
    }
    for source, text in sources.items():
        named = {
            re.sub(r"_(bucket|sum|count)$", "", name)
            for name in re.findall(r"\bhdsynth_[a-z_]+", text)
        }
        assert named, source
        assert named <= exported, f"{source}: {named - exported}"


@pytest.fixture(scope="module")
def prometheus(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus with the compose file's settings, which has scraped that server."""
    program = tool("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    settings: Manifest = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["rule_files"] = [str(RULES)]
    (target,) = settings["scrape_configs"][0]["static_configs"]
    target["targets"] = [server.metrics_url.removeprefix("http://")]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [
            program, f"--config.file={folder}/prometheus.yml", f"--web.listen-address={address}",
            f"--storage.tsdb.path={folder}/data", "--log.level=error",
        ],
    )  # fmt: skip
    try:
        wait_until(f"http://{address}", "hdsynth_stream_frames_total")
        use(server)
        # Rates need two scrapes that differ.
        wait_until(f"http://{address}", "rate(hdsynth_stream_frames_total[1m]) > 0")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def wait_until(prometheus: str, expression: str) -> None:
    """Wait until an expression has a result."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if query(prometheus, expression):
                return
        except httpx.TransportError:
            pass  # it is starting
        time.sleep(0.2)
    raise AssertionError(f"{expression} has no result")


def query(prometheus: str, expression: str) -> list[dict[str, Any]]:
    """Evaluate an expression now; returns its series."""
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": expression})
    if answer.status_code == 503:
        return []  # it is starting
    assert answer.status_code == 200, f"{expression}: {answer.text}"
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS, ids=[t for t, _ in EXPRESSIONS])
def test_panels_show_something(prometheus: str, title: str, expression: str) -> None:
    """Prometheus evaluates the panel, and its series have every label that it sums by."""
    for variable, value in (
        ("$namespace", "compose"), ("$service", "hdsynth"), ("$__rate_interval", "1m"),
    ):  # fmt: skip
        expression = expression.replace(variable, value)
    assert "$" not in expression
    found = query(prometheus, expression)
    if title in QUIET:
        return
    assert found, expression
    grouped = re.search(r"by \(([\w, ]+)\)", expression)
    assert grouped is not None
    labels = {*grouped[1].split(", ")} - {"le"}
    assert all({*series["metric"]} == labels for series in found)


def test_alerts_are_quiet_while_the_server_is_well(prometheus: str) -> None:
    """Prometheus loads all rules and evaluates them; none is pending or fires."""
    rules: list[dict[str, Any]] = []
    while not all(rule["health"] == "ok" for rule in rules) or not rules:
        answer = httpx.get(f"{prometheus}/api/v1/rules").json()
        rules = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
        assert not any(rule["health"] == "err" for rule in rules), rules
        time.sleep(0.1)
    assert [rule["name"] for rule in rules] == [rule["alert"] for rule in ALERTS]
    assert {rule["name"]: rule["state"] for rule in rules if rule["state"] != "inactive"} == {}
