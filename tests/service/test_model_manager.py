"""A server whose models change while it serves."""

from __future__ import annotations

import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hdsynth.v1 import synthesis_pb2 as pb
from hdsynth.v1 import synthesis_pb2_grpc

from model.bundle import load_bundle, replace_card
from model.bundle_archive import pack
from service.auth import new_key
from tests.service.conftest import Server, png, start_server, stop_server
from tests.service.test_app import run_to_its_end

LABEL = png(np.full((64, 64), 1, np.uint8))
HEALTH = health_pb2.HealthCheckResponse


@dataclass(frozen=True)
class Site:
    """A server, its admin's client, and the link that its models come through."""

    server: Server
    admin: httpx.Client
    link: Path
    user_key: str
    """Of somebody who is no admin."""
    versions: list[Path]
    """Bundles that differ in their version only."""

    def switch(self, folder: Path) -> None:
        """Let the link show another folder, in one step."""
        new = self.link.with_name("new")
        new.symlink_to(folder)
        new.replace(self.link)

    def status(self, name: str) -> dict[str, Any] | None:
        """Return where a model stands."""
        found = self.admin.get("/v1/models").json()["status"]
        return next((entry for entry in found if entry["name"] == name), None)


@pytest.fixture(scope="module")
def site(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server of two models with an engine of known speed."""
    folder = tmp_path_factory.mktemp("site")
    versions = [folder / "first", folder / "second"]
    for path in versions:
        shutil.copytree(tiny_bundle, path)
        replace_card(load_bundle(path), f"# {path.name}\n")
    link = folder / "link"
    link.symlink_to(versions[0])
    keys = {name: new_key(name) for name in ("admin", "user")}
    (folder / "keys").write_text("".join(f"{line}\n" for _, line in keys.values()))
    server = start_server(
        folder / "stderr.log",
        model=f"one={link},two={tiny_bundle}",
        model_cache=folder / "cache",
        buckets="64x64",
        backend="fake:base_ms=20",
        result_cache_mb=0,
        api_keys_file=folder / "keys",
        admin_keys="admin",
    )
    headers = {"X-API-Key": keys["admin"][0]}
    with httpx.Client(base_url=server.url, timeout=60, headers=headers) as admin:
        yield Site(server, admin, link, keys["user"][0], versions)
    stop_server(server)


def synthesize(client: httpx.Client, address: str = "/v1/synthesize") -> httpx.Response:
    """Ask for a photograph."""
    return client.post(address, files={"label": LABEL})


def stub(channel: grpc.Channel) -> Any:
    """Make the calls of the service."""
    return synthesis_pb2_grpc.SynthesisServiceStub(channel)  # type: ignore[no-untyped-call]


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something that must happen has happened."""
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_models_beside_each_other(site: Site) -> None:
    """Every model is found by its name and by its version; the first one is the default."""
    listed = site.admin.get("/v1/models").json()
    assert [model["name"] for model in listed["models"]] == ["one", "two"]
    assert [entry["state"] for entry in listed["status"]] == ["ready", "ready"]
    one, two = (model["version"] for model in listed["models"])
    for address, version in (
        ("/v1/synthesize", one),
        ("/v1/models/one:synthesize", one),
        ("/v1/models/two:synthesize", two),
        (f"/v1/models/two/versions/{two}:synthesize", two),
    ):
        response = synthesize(site.admin, address)
        assert (response.status_code, response.headers["X-Model-Version"]) == (200, version)
    response = synthesize(site.admin, f"/v1/models/two/versions/{one}:synthesize")
    assert response.json()["reason"] == "MODEL_NOT_FOUND"
    assert two in response.json()["detail"]


def test_rolling_reload_under_load(site: Site) -> None:
    """While two versions replace each other no request fails, and callers see both."""
    stop, outcomes = threading.Event(), Counter[tuple[str, object, str]]()
    key = ("x-api-key", site.admin.headers["X-API-Key"])

    def over_rest(_: int) -> None:
        with httpx.Client(base_url=site.server.url, timeout=60, headers=[key]) as client:
            while not stop.is_set():
                response = synthesize(client)
                version = response.headers.get("X-Model-Version", response.text)
                outcomes["rest", response.status_code, version] += 1

    def over_grpc(_: int) -> None:
        with grpc.insecure_channel(site.server.grpc_address) as channel:
            request = pb.SynthesizeRequest(label=pb.Map(data=LABEL))
            while not stop.is_set():
                try:
                    response = stub(channel).Synthesize(request, metadata=[key], timeout=60)
                    outcomes["grpc", "OK", response.model_version] += 1
                except grpc.RpcError as error:
                    outcomes["grpc", "failed", str(error)] += 1

    with ThreadPoolExecutor(6) as callers:
        running = [callers.submit(over_rest, n) for n in range(4)]
        running += [callers.submit(over_grpc, n) for n in range(2)]
        for folder in (site.versions[1], site.versions[0]):
            site.switch(folder)
            answer = site.admin.post("/v1/models/one:reload")
            assert answer.status_code == 200, answer.text
            assert answer.json()["version"] == load_bundle(folder).version
            asked = outcomes.total()
            wait_for(lambda asked=asked: outcomes.total() > asked + 20)  # type: ignore[misc]
        stop.set()
        for call in running:
            call.result()
    versions = [load_bundle(folder).version for folder in site.versions]
    assert set(outcomes) == {
        (face, status, version)
        for face, status in (("rest", 200), ("grpc", "OK"))
        for version in versions
    }
    wait_for(lambda: site.server.log.read_text().count(" has ended") == 2)


def test_failed_reload_keeps_the_old_version(site: Site, tmp_path: Path) -> None:
    """A damaged bundle is told with the reason, and what was served before still is."""
    before = synthesize(site.admin).headers["X-Model-Version"]
    damaged = tmp_path / "damaged"
    shutil.copytree(site.versions[1], damaged)
    (damaged / "generator.safetensors").write_bytes(b"?")
    site.switch(damaged)
    answer = site.admin.post("/v1/models/one:reload")
    site.switch(site.versions[0])
    assert (answer.status_code, answer.json()["reason"]) == (422, "LOAD_FAILED")
    assert "'generator.safetensors' is damaged" in answer.json()["detail"]
    status = site.status("one")
    assert status is not None
    assert (status["state"], status["version"]) == ("failed", before)
    assert "is damaged" in status["reason"]
    assert synthesize(site.admin).headers["X-Model-Version"] == before
    assert site.admin.post("/v1/models/one:reload").status_code == 200
    assert site.status("one") == {"name": "one", "version": before, "state": "ready", "reason": ""}


def test_load_and_unload(site: Site, tmp_path: Path) -> None:
    """A model from an archive comes and goes, on every face."""
    archive = tmp_path / "bundle.tar"
    digest = pack(load_bundle(site.versions[1]), archive)
    answer = site.admin.post("/v1/models/three:load", json={"source": f"{archive}#sha256={digest}"})
    assert answer.status_code == 200, answer.text
    with grpc.insecure_channel(site.server.grpc_address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="three")
        )
        assert check(health_pb2.HealthCheckRequest(service="three")).status == HEALTH.SERVING
        assert next(watch).status == HEALTH.SERVING
        response = synthesize(site.admin, "/v1/models/three:synthesize")
        assert response.headers["X-Model-Version"] == answer.json()["version"]
        assert site.admin.post("/v1/models/three:unload").status_code == 204
        assert next(watch).status == HEALTH.SERVICE_UNKNOWN
    response = synthesize(site.admin, "/v1/models/three:synthesize")
    assert (response.status_code, response.json()["reason"]) == (404, "MODEL_NOT_FOUND")
    assert "'three' is none of one, two" in response.json()["detail"]
    assert site.status("three") is None
    assert 'model="three",bucket' not in httpx.get(f"{site.server.metrics_url}/metrics").text
    again = site.admin.post("/v1/models/three:unload")
    assert (again.status_code, again.json()["reason"]) == (404, "MODEL_NOT_FOUND")


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        ("/no/such/folder", "LOAD_FAILED", "no bundle here"),
        ("x.tar#md5=1", "INVALID_FIELD", "write #sha256=HEX"),
        ("nosuch://host/x.tar", "LOAD_FAILED", "cannot be fetched"),
    ],
)
def test_source_that_cannot_be_loaded(site: Site, source: str, reason: str, words: str) -> None:
    """The answer and the list say why; the name is not served."""
    answer = site.admin.post("/v1/models/four:load", json={"source": source})
    assert (answer.status_code, answer.json()["reason"]) == (422, reason)
    assert words in answer.json()["detail"]
    if reason == "LOAD_FAILED":
        status = site.status("four")
        assert status is not None
        assert status["state"] == "failed"
        assert words in status["reason"]
        site.admin.post("/v1/models/four:unload")
    assert synthesize(site.admin, "/v1/models/four:synthesize").status_code == 404


def test_hangup_reloads_what_has_changed(site: Site) -> None:
    """After SIGHUP a changed bundle is served, and one that has not changed keeps its engine."""
    site.switch(site.versions[1])
    started = len(engines(site))
    site.server.process.send_signal(signal.SIGHUP)
    wanted = load_bundle(site.versions[1]).version
    wait_for(lambda: synthesize(site.admin).headers["X-Model-Version"] == wanted)
    assert len(engines(site)) == started + 1
    site.switch(site.versions[0])
    site.server.process.send_signal(signal.SIGHUP)
    wanted = load_bundle(site.versions[0]).version
    wait_for(lambda: synthesize(site.admin).headers["X-Model-Version"] == wanted)


def engines(site: Site) -> list[str]:
    """Return the process ids of all engines there ever were."""
    return re.findall(r"in process (\d+), warm", site.server.log.read_text())


def test_streams_are_sent_to_the_new_version(site: Site) -> None:
    """A stream of a model that is replaced gets its frames, a GoAway, and an end."""
    key = ("x-api-key", site.admin.headers["X-API-Key"])
    done = threading.Event()

    def requests() -> Iterator[pb.SynthesizeStreamRequest]:
        yield pb.SynthesizeStreamRequest(config=pb.StreamConfig(model="one"))
        yield pb.SynthesizeStreamRequest(frame=pb.Frame(frame_id=1, label=pb.Map(data=LABEL)))
        done.wait(60)

    with grpc.insecure_channel(site.server.grpc_address) as channel:
        answers = stub(channel).SynthesizeStream(requests(), metadata=[key], timeout=60)
        kinds = [next(answers).WhichOneof("message"), next(answers).WhichOneof("message")]
        assert kinds == ["ready", "result"]
        assert site.admin.post("/v1/models/one:reload").status_code == 200
        rest = [answer.WhichOneof("message") for answer in answers]
        done.set()
    assert "go_away" in rest


def test_only_the_admins_change_models(site: Site) -> None:
    """Other keys, and requests without one, are refused."""
    headers = {"X-API-Key": site.user_key}
    for address in ("one:reload", "one:unload", "one:load"):
        response = httpx.post(f"{site.server.url}/v1/models/{address}", json={"source": "x"})
        assert response.status_code == 401
        response = httpx.post(
            f"{site.server.url}/v1/models/{address}", json={"source": "x"}, headers=headers
        )
        assert (response.status_code, response.json()["reason"]) == (403, "PERMISSION_DENIED")


def test_two_models_of_one_name_end_the_start(tiny_bundle: Path) -> None:
    """Which of them a request meant could not be told; the error says what to write."""
    both = f"{tiny_bundle},{tiny_bundle}"
    line = run_to_its_end(model=both, port=0, backend="fake", buckets="64x64")
    assert f"there is a model tiny already; write OTHERNAME={tiny_bundle}" in line


def test_without_admins_nobody_changes_models(server: Server) -> None:
    """By default the models of a server stay as they are."""
    response = httpx.post(f"{server.url}/v1/models/tiny:unload")
    assert (response.status_code, response.json()["reason"]) == (403, "PERMISSION_DENIED")
