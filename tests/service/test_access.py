import asyncio
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from service.access import AccessControl
from service.auth import Authenticator, new_key
from service.limits import Limiter
from tests.service.conftest import Server, start_server, stop_server

ORIGIN = "https://studio.example.org"
KEYS = {name: new_key(name) for name in ("alice", "bob", "carol")}


def key_of(name: str) -> dict[str, str]:
    """Return the header that lets a caller in."""
    return {"Authorization": f"Bearer {KEYS[name][0]}"}


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of keys."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text("\n".join(line for _, line in KEYS.values()))
    return file


@pytest.fixture(scope="module")
def guarded(tiny_bundle: Path, keys_file: Path) -> Iterator[Server]:
    """A server that wants keys, sets limits and knows one web origin."""
    server = start_server(
        keys_file.with_name("stderr.log"),
        model=tiny_bundle,
        buckets="64x64",
        api_keys_file=keys_file,
        rate_limit=4,
        cors_origins=ORIGIN,
    )
    yield server
    stop_server(server)


@pytest.fixture(scope="module")
def stranger(guarded: Server) -> Iterator[httpx.Client]:
    """A client without a key."""
    with httpx.Client(base_url=guarded.url, timeout=60) as client:
        yield client


@pytest.mark.parametrize("address", ["/synthesize", "/v1/synthesize"])
def test_a_key_is_needed(stranger: httpx.Client, files: dict[str, bytes], address: str) -> None:
    """Without a key, or with a wrong one, the answer is a problem that says how to send one."""
    for headers in ({}, {"X-API-Key": "hdsynth_wrong"}):
        response = stranger.post(address, files=files, headers=headers)
        problem = response.json()
        assert (response.status_code, problem["reason"]) == (401, "UNAUTHENTICATED")
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert problem["request_id"] == response.headers["x-request-id"]


def test_a_key_lets_in(stranger: httpx.Client, files: dict[str, bytes], guarded: Server) -> None:
    """With a key a photograph is made; the log has the key's name, never the key."""
    response = stranger.post("/synthesize", files=files, headers=key_of("alice"))
    assert response.status_code == 200
    assert guarded.record(response.headers["x-request-id"])["caller"] == "alice"
    assert "hdsynth_" not in guarded.log.read_text()


def test_unknown_addresses_need_a_key_too(stranger: httpx.Client) -> None:
    """What is not meant for everybody is closed, whether it exists or not."""
    for address in ("/v1/models", "/v1/nothing", "/metrics", "/docs/../v1/models", "//v1/models"):
        assert stranger.get(address).status_code == 401, address
    assert stranger.post("/readyz").status_code == 401


def test_probes_and_pages_stay_open(stranger: httpx.Client) -> None:
    """Orchestrators and browsers come without a key."""
    for address in ("/livez", "/readyz", "/startupz", "/", "/docs", "/openapi.json"):
        assert stranger.get(address).status_code == 200, address


def test_rate_is_limited_per_key(stranger: httpx.Client) -> None:
    """Who asks too fast is told when to come back; nobody else notices."""
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda _: stranger.get("/v1/models", headers=key_of("bob")), range(12))
        )
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 4
    assert len(refused) < 12
    for answer in refused:
        assert answer.json()["reason"] == "RATE_LIMITED"
        assert answer.headers["retry-after"] == "1"
    assert stranger.get("/v1/models", headers=key_of("carol")).status_code == 200


def test_removed_key_is_refused_without_a_restart(
    stranger: httpx.Client, guarded: Server, keys_file: Path
) -> None:
    """The file of keys is read again when it changes."""
    before = keys_file.read_text()
    assert stranger.get("/v1/models", headers=key_of("carol")).status_code == 200
    keys_file.write_text(KEYS["alice"][1])
    assert stranger.get("/v1/models", headers=key_of("carol")).status_code == 401
    keys_file.write_text(before + "\n")
    assert stranger.get("/v1/models", headers=key_of("carol")).status_code == 200


def test_hangup_reads_the_keys_again(guarded: Server) -> None:
    """The signal by which daemons are told to read their files does that, and ends nothing."""
    before = guarded.log.read_text().count("read 3 API keys")
    guarded.process.send_signal(signal.SIGHUP)
    while guarded.log.read_text().count("read 3 API keys") == before:
        assert guarded.process.poll() is None
        time.sleep(0.05)


def test_only_the_named_origin_may_call(stranger: httpx.Client) -> None:
    """A page of the origin may send keys and read our headers; other pages get no permission."""
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    allowed = stranger.options("/v1/synthesize", headers=asks | {"Origin": ORIGIN})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "X-API-Key" in allowed.headers["access-control-allow-headers"]
    denied = stranger.options("/v1/synthesize", headers=asks | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in denied.headers
    refused = stranger.get("/v1/models", headers={"Origin": ORIGIN})
    assert refused.headers["access-control-allow-origin"] == ORIGIN  # so that pages can read why


def test_no_origin_may_call_by_default(client: httpx.Client) -> None:
    """Without the setting there is no permission for any page but ours."""
    response = client.get("/v1/models", headers={"Origin": ORIGIN})
    assert not [name for name in response.headers if name.startswith("access-control")]


def connect(
    control: AccessControl, subprotocols: list[str], *, method: str = "websocket"
) -> list[Message]:
    """Open a connection as a server would; return what it would be told."""
    told: list[Message] = []
    scope: Scope = {
        "type": method,
        "path": "/v1/stream",
        "headers": [],
        "subprotocols": subprotocols,
        "client": ("192.0.2.1", 50000),
        "extensions": {"websocket.http.response": {}},
        "state": {"request_id": "7f3a", "path": "/v1/stream"},
    }

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        told.append(message)

    asyncio.run(control(scope, receive, send))
    return told


def test_websockets_bring_their_key_as_a_subprotocol(keys_file: Path) -> None:
    """Browsers cannot send headers with a WebSocket, so the key may come among its protocols."""

    async def accept(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["state"]["caller"] == "alice"
        await send({"type": "websocket.accept"})

    control = AccessControl(accept, Authenticator(keys_file), Limiter(0, 0))
    good = ["hdsynth.v1", f"hdsynth.key.{KEYS['alice'][0]}"]
    assert connect(control, good) == [{"type": "websocket.accept"}]
    first = connect(control, ["hdsynth.v1"])[0]
    assert (first["type"], first["status"]) == ("websocket.http.response.start", 401)


def test_callers_without_keys_are_told_apart_by_address(tmp_path: Path) -> None:
    """Where no keys are needed the limits count for each address."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("made")(scope, receive, send)

    control = AccessControl(app, Authenticator(None), Limiter(0.001, 0))

    async def ask(address: str) -> int:
        transport = httpx.ASGITransport(_with_state(control), client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get("/v1/models")).status_code

    asked = [asyncio.run(ask(address)) for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2")]
    assert asked == [200, 429, 200]


def _with_state(app: AccessControl) -> AccessControl:
    """Add what RequestContext would have added."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"request_id": "7f3a", "path": scope["path"]}
        await app(scope, receive, send)

    return wrapped  # type: ignore[return-value]
