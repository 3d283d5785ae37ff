import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.errors import ServiceError
from service.lifecycle import Lifecycle
from tests.service.conftest import Server, start_server, stop_server
from tests.service.test_server import running


def refusal(lifecycle: Lifecycle, path: str) -> str:
    """Return the reason why a probe fails."""
    with pytest.raises(ServiceError) as caught:
        lifecycle.probe(path)
    return caught.value.reason


def test_probes_follow_the_life_of_the_process() -> None:
    """Alive from the first moment, started for good, ready until something is in the way."""
    lifecycle = Lifecycle()
    assert lifecycle.probe("/livez") == "alive"
    assert refusal(lifecycle, "/startupz") == refusal(lifecycle, "/readyz") == "MODEL_LOADING"
    lifecycle.start()
    assert lifecycle.probe("/startupz") == "started"
    assert lifecycle.probe("/readyz") == "ready"
    lifecycle.can_serve = lambda: False
    assert refusal(lifecycle, "/readyz") == "ENGINE_LOST"
    lifecycle.draining = True
    assert refusal(lifecycle, "/readyz") == "DRAINING"
    assert lifecycle.probe("/startupz") == "started"
    assert lifecycle.probe("/livez") == "alive"


def test_hooks_end_side_by_side() -> None:
    """Other faces stop at the same time, and the process waits for all of them."""
    ended: list[str] = []

    async def main() -> None:
        lifecycle, first = Lifecycle(), asyncio.Event()

        async def waits() -> None:
            await first.wait()
            ended.append("second")

        async def goes_ahead() -> None:
            ended.append("first")
            first.set()

        lifecycle.on_stop(waits)
        lifecycle.on_stop(goes_ahead)
        lifecycle.stop()
        await lifecycle.stopped()

    asyncio.run(main())
    assert ended == ["first", "second"]


def test_server_ends_after_its_delay() -> None:
    """A signal takes readiness away; the delay later the server ends by itself, once."""
    with running(drain_delay_s=0.3) as server:
        with httpx.Client(base_url="http://{}:{}".format(*server.address)) as client:
            assert "connection" not in client.get("/early").headers
            server.server.handle_exit(signal.SIGTERM, None)
            assert server.lifecycle.draining
            assert client.get("/early").headers["connection"] == "close"
        server.thread.join(20)
        assert not server.thread.is_alive()


@pytest.fixture
def draining(tiny_bundle: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that has been told to stop, and waits for load balancers to notice."""
    log = tmp_path / "stderr.log"
    server = start_server(log, model=tiny_bundle, buckets="64x64", drain_delay_s=600)
    server.process.send_signal(signal.SIGTERM)
    while "told to stop" not in log.read_text():
        time.sleep(0.05)
    yield server
    stop_server(server)


def test_drain_serves_and_a_second_signal_ends(draining: Server, files: dict[str, bytes]) -> None:
    """Not ready on both ports, yet no request is refused; whoever insists ends it at once."""
    for url in (draining.url, draining.metrics_url):
        unready = httpx.get(f"{url}/readyz")
        assert (unready.status_code, unready.json()["reason"]) == (503, "DRAINING")
        assert httpx.get(f"{url}/livez").json() == {"status": "alive"}
        assert httpx.get(f"{url}/startupz").json() == {"status": "started"}
    photo = httpx.post(f"{draining.url}/synthesize", files=files, timeout=60)
    assert photo.status_code == 200
    assert photo.headers["connection"] == "close"
    draining.process.send_signal(signal.SIGTERM)
    assert draining.process.wait(timeout=20) == -signal.SIGTERM
