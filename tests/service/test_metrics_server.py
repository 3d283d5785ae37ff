import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import metrics
from tests.service.conftest import Server


def samples(server: Server, name: str) -> dict[tuple[str, ...], float]:
    """Read the samples of a metric, by the values of their labels in order of the labels' names."""
    text = httpx.get(f"{server.metrics_url}/metrics").text
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def test_requests_are_counted_by_route_and_reason(
    server: Server, client: httpx.Client, files: dict[str, bytes]
) -> None:
    """Each answer is counted once, with its API, status, model and reason; its time as well."""
    good = ("rest.synthesize", "200", "tiny", "OK")
    before = samples(server, "hdsynth_requests_total")
    timed = samples(server, "hdsynth_request_duration_seconds_count")
    client.post("/synthesize", files=files)
    client.post("/v1/synthesize", files=files)
    last = client.post("/synthesize", files={"instance": files["instance"]})
    server.record(last.headers["x-request-id"])
    after = samples(server, "hdsynth_requests_total")
    assert after[good] - before.get(good, 0) == 2
    assert sum(after.values()) - sum(before.values()) == 3
    refused = {key[:2] for key in after if after[key] != before.get(key, 0) and key != good}
    assert refused == {("rest.synthesize", "422")}
    now = samples(server, "hdsynth_request_duration_seconds_count")
    assert sum(now.values()) - sum(timed.values()) == 3


def test_clients_cannot_make_labels(server: Server, client: httpx.Client) -> None:
    """Addresses, methods and models that a client makes up share one label."""
    client.get("/warm/up")
    before = set(samples(server, "hdsynth_requests_total"))
    for number in range(5):
        assert client.get(f"/made/up/{number}").status_code == 404
        assert client.request(f"M{number}", "/made/up").status_code in {400, 404}
    new = set(samples(server, "hdsynth_requests_total")) - before
    assert new == set()


def test_busy_engines_show(server: Server, client: httpx.Client, files: dict[str, bytes]) -> None:
    """After work the gauge that fleets scale on is above 0."""
    client.post("/synthesize", files=files)
    (busy,) = samples(server, "hdsynth_engine_busy_ratio").values()
    assert 0 < busy <= 1


def test_loop_lag_is_measured(server: Server) -> None:
    """The gauge shows how far the server is from keeping its appointments."""
    (lag,) = samples(server, "hdsynth_event_loop_lag_seconds").values()
    assert 0 <= lag < 60


def test_every_metric_is_there(server: Server) -> None:
    """A dashboard finds each name from the first scrape on, even before its first sample."""
    text = httpx.get(f"{server.metrics_url}/metrics").text
    for family in metrics.REGISTRY.collect():
        assert f"# TYPE {family.name}" in text


def test_openmetrics_on_demand(server: Server) -> None:
    """Prometheus itself asks for the newer format."""
    accept = "application/openmetrics-text; version=1.0.0"
    response = httpx.get(f"{server.metrics_url}/metrics", headers={"Accept": accept})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz"])
def test_probes_are_there_too(server: Server, path: str) -> None:
    """Where clients need certificates, orchestrators probe this port."""
    assert httpx.get(server.metrics_url + path).status_code == 200


def test_nothing_else_is_there(server: Server, client: httpx.Client) -> None:
    """The ports do not mix: no photographs here, no metrics there."""
    assert httpx.post(f"{server.metrics_url}/synthesize").status_code == 404
    assert client.get("/metrics").status_code == 404
