"""The gRPC server: which services it has, how it listens, how it starts and stops.

| limit                   | value                                                                  |
|-------------------------|------------------------------------------------------------------------|
| largest message in      | ``max_upload_bytes``, 16 MiB: raw maps of 2048x1024 take up to 10 MiB  |
| largest message out     | none; but most clients take no more than 4 MiB until told otherwise,   |
|                         | which RAW photographs above 1.3 megapixels exceed                      |
| pings from idle clients | at most one a second                                                   |
| pings to idle clients   | one every ``grpc_keepalive_s``                                         |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from hdsynth.v1 import synthesis_pb2, synthesis_pb2_grpc

from service.auth import Authenticator
from service.grpc_api import StreamHandler, SynthesisApi
from service.grpc_calls import CallGuard
from service.grpc_health import Health
from service.lifecycle import Lifecycle
from service.limits import Limiter
from service.oip_grpc import SERVICE as INFERENCE
from service.oip_grpc import inference_handlers
from service.served import Models
from service.settings import Settings

if TYPE_CHECKING:
    from service.tracing import Tracing

SYNTHESIS = synthesis_pb2.DESCRIPTOR.services_by_name["SynthesisService"].full_name
_REFLECTED = (SYNTHESIS, "grpc.health.v1.Health", reflection.SERVICE_NAME)


class GrpcServer:
    """Serves gRPC on the running event loop, from ``start`` to ``stop``."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        lifecycle: Lifecycle,
        authenticator: Authenticator,
        limiter: Limiter,
        *,
        stream: StreamHandler | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings, self._models, self._lifecycle = settings, models, lifecycle
        self._health = Health(self._serving)
        self._server = grpc.aio.server(
            interceptors=[CallGuard(authenticator, limiter, tracing)], options=_options(settings)
        )
        synthesis_pb2_grpc.add_SynthesisServiceServicer_to_server(  # type: ignore[no-untyped-call]
            SynthesisApi(models, stream), self._server
        )
        self._server.add_generic_rpc_handlers([inference_handlers(models)])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(_REFLECTED, self._server)

    async def start(self) -> int:
        """Listen; return the port. Raises OSError if the address cannot be had, and ValueError."""
        host, port = self._settings.host, self._settings.grpc_port
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        credentials = _credentials(self._settings)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(
                f"cannot listen for gRPC on {host} port {port}: {error}; give another --grpc-port"
            ) from error
        await self._server.start()
        return port

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and give those that run some seconds to finish."""
        self._health.close()
        await self._server.stop(grace_s)

    def _serving(self) -> dict[str, bool]:
        """Say what the process's own probes and the models' engines say."""
        serving = dict.fromkeys(("", SYNTHESIS, INFERENCE), self._lifecycle.ready)
        return serving | self._models.health()


def _options(settings: Settings) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", settings.max_upload_bytes),
        ("grpc.max_send_message_length", -1),
        # Maps are megabytes: with the default of 64 KiB a sender waits for every few rows of them.
        ("grpc.http2.lookahead_bytes", 8 << 20),
        ("grpc.so_reuseport", 0),  # else a port that is taken would be shared in silence
        ("grpc.keepalive_time_ms", round(settings.grpc_keepalive_s * 1000)),
        # Game engines ping idle connections every few seconds, which the library would punish by
        # closing them. The similar name min_recv_ping_interval is passed over by servers.
        ("grpc.http2.min_ping_interval_without_data_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """Return what TLS needs, None without it. Raises ValueError for an encrypted key."""
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        return None
    if settings.tls_key_password is not None:
        raise ValueError(
            f"{key}: gRPC reads unencrypted private keys only; decrypt it with "
            "`openssl pkey -in KEY -out NEW`, or set grpc_port to off"
        )
    ca = settings.tls_client_ca
    return grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())],
        root_certificates=None if ca is None else ca.read_bytes(),
        require_client_auth=ca is not None,
    )
