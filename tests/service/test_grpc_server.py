"""The gRPC server's process side: keys, TLS, limits, and its end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from hdsynth.v1 import synthesis_pb2 as pb
from hdsynth.v1 import synthesis_pb2_grpc

from service.app import create_app
from service.auth import new_key
from service.grpc_server import GrpcServer
from service.settings import Settings
from tests.service.conftest import Server, start_server, stop_server
from tests.service.test_server import Certificates, certificates

__all__ = ["certificates"]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def list_models(channel: grpc.Channel, **metadata: str) -> pb.ListModelsResponse:
    """Make a call that needs a key where any does."""
    stub: Any = synthesis_pb2_grpc.SynthesisServiceStub(channel)  # type: ignore[no-untyped-call]
    given = [(name.replace("_", "-"), value) for name, value in metadata.items()]
    response = stub.ListModels(pb.ListModelsRequest(), metadata=given, timeout=60)
    assert isinstance(response, pb.ListModelsResponse)
    return response


def health(channel: grpc.Channel) -> Any:
    """Make the calls of the health service."""
    return health_pb2_grpc.HealthStub(channel)


def error_of(caught: pytest.ExceptionInfo[grpc.RpcError]) -> Any:
    """Return the error, which is a call too."""
    return caught.value


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A key, and the file that knows it."""
    key, line = new_key("alice")
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"{line}\n")
    return key, file


@pytest.fixture(scope="module")
def guarded(
    tiny_bundle: Path,
    certificates: Certificates,
    key: tuple[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A server that wants a client certificate and a key."""
    folder = tmp_path_factory.mktemp("guarded")
    plain = folder / "server.key"
    command = ["openssl", "pkey", "-in", str(certificates.server_key), "-passin", "pass:swordfish"]
    subprocess.run([*command, "-out", str(plain)], check=True, capture_output=True)
    server = start_server(
        folder / "stderr.log",
        model=tiny_bundle,
        buckets="64x64",
        api_keys_file=key[1],
        tls_certificate=certificates.server,
        tls_key=plain,
        tls_client_ca=certificates.ca,
    )
    yield server
    stop_server(server)


def secure(server: Server, certificates: Certificates, *, known: bool = True) -> grpc.Channel:
    """Connect with TLS, and with a certificate if ``known``."""
    credentials = grpc.ssl_channel_credentials(
        certificates.ca.read_bytes(),
        certificates.client_key.read_bytes() if known else None,
        certificates.client.read_bytes() if known else None,
    )
    return grpc.secure_channel(server.grpc_address, credentials)


@pytest.mark.parametrize("header", ["x_api_key", "authorization"])
def test_key_opens(
    guarded: Server, certificates: Certificates, key: tuple[str, Path], header: str
) -> None:
    """A key goes in either header, over TLS with a client's certificate."""
    value = f"Bearer {key[0]}" if header == "authorization" else key[0]
    with secure(guarded, certificates) as channel:
        assert list_models(channel, **{header: value}).models[0].name == "tiny"


@pytest.mark.parametrize("metadata", [{}, {"x_api_key": "hdsynth_wrong"}])
def test_wrong_key_is_refused(
    guarded: Server, certificates: Certificates, metadata: dict[str, str]
) -> None:
    """Calls without a known key end as UNAUTHENTICATED; probes need none."""
    with secure(guarded, certificates) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            list_models(channel, **metadata)
        assert error_of(caught).code() == grpc.StatusCode.UNAUTHENTICATED
        assert health(channel).Check(health_pb2.HealthCheckRequest()).status == SERVING


def test_client_without_a_certificate_is_refused(
    guarded: Server, certificates: Certificates
) -> None:
    """Nobody else gets as far as a call, with TLS or without."""
    for channel in (
        secure(guarded, certificates, known=False),
        grpc.insecure_channel(guarded.grpc_address),
    ):
        with channel, pytest.raises(grpc.RpcError) as caught:
            health(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
        assert error_of(caught).code() == grpc.StatusCode.UNAVAILABLE


def test_limit_and_end(tiny_bundle: Path, tmp_path: Path) -> None:
    """Who asks too much is told when to come back; who watches sees the server's end coming."""
    server = start_server(
        tmp_path / "stderr.log", model=tiny_bundle, buckets="64x64", rate_limit=0.01
    )
    try:
        with grpc.insecure_channel(server.grpc_address) as channel:
            list_models(channel)
            with pytest.raises(grpc.RpcError) as caught:
                list_models(channel)
            error = error_of(caught)
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            status = rpc_status.from_call(error)
            assert status is not None
            wait = error_details_pb2.RetryInfo()
            assert any(detail.Unpack(wait) for detail in status.details)
            assert 90 < wait.retry_delay.seconds <= 100
            watch = health(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watch).status == SERVING
            server.process.send_signal(signal.SIGTERM)
            assert [response.status for response in watch] == [NOT_SERVING]
        # Long before the 30 seconds that running calls would get.
        assert server.process.wait(timeout=20) == 0
    finally:
        stop_server(server)


def test_encrypted_key_is_told_at_the_start(certificates: Certificates) -> None:
    """The library cannot read such a key, so the start ends with what to do about it."""
    settings = Settings(
        grpc_port=0,
        tls_certificate=certificates.server,
        tls_key=certificates.server_key,
        tls_key_password="swordfish",  # type: ignore[arg-type]  # noqa: S106
    )
    state = create_app(settings).state

    async def start() -> None:
        server = GrpcServer(
            settings, state.models, state.lifecycle, state.authenticator, state.limiter
        )
        await server.start()

    with pytest.raises(ValueError, match=r"server\.key: gRPC reads unencrypted private keys only"):
        asyncio.run(start())


def test_address_in_use_is_told(server: Server) -> None:
    """A port that is taken is told with what to do about it."""
    port = int(server.grpc_address.rpartition(":")[2])
    state = create_app(Settings(grpc_port=port)).state

    async def start() -> None:
        grpc_server = GrpcServer(
            Settings(grpc_port=port),
            state.models,
            state.lifecycle,
            state.authenticator,
            state.limiter,
        )
        await grpc_server.start()

    with pytest.raises(OSError, match=f"cannot listen for gRPC on 127.0.0.1 port {port}"):
        asyncio.run(start())
