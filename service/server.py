"""The HTTP server's process side: TLS, patience with slow clients, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from service.errors import ServiceError
from service.lifecycle import Lifecycle
from service.metrics import REQUESTS
from service.problem import problem_response
from service.request_ids import request_id
from service.settings import Settings

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Serves until a signal, then ends in order; a second signal ends it at once.

    Readiness goes first, while requests are still served for ``drain_delay_s``, until load
    balancers have noticed. Then nothing new is accepted, and what runs gets
    ``shutdown_timeout_s`` to finish. The process then ends with 0.
    """

    def __init__(self, app: ASGIApp, settings: Settings, lifecycle: Lifecycle) -> None:
        super().__init__(_Config(app, settings))
        self._lifecycle, self._drain_delay_s = lifecycle, settings.drain_delay_s
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: Any = None) -> None:
        """Begin to listen; uvicorn calls this."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002, uvicorn's
        """Begin the end, or hasten it; uvicorn calls this for SIGTERM and SIGINT.

        Not recorded where uvicorn would repeat the signal after its clean stop: it was obeyed.
        """
        if self._lifecycle.draining:
            signal.signal(sig, signal.SIG_DFL)
            os.kill(os.getpid(), sig)
        self._lifecycle.draining = True
        if self._loop is None:
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self._begin_to_end)

    async def shutdown(self, sockets: Any = None) -> None:
        """Stop accepting, wait for what runs, close; uvicorn calls this."""
        self._lifecycle.draining = True
        self._lifecycle.stop()
        log.info("no more connections; %d are open", len(self.server_state.connections))
        await super().shutdown(sockets)

    def _begin_to_end(self) -> None:
        log.info("told to stop: not ready any more, serving for %g s", self._drain_delay_s)
        asyncio.get_running_loop().call_later(self._drain_delay_s, self._stop_accepting)

    def _stop_accepting(self) -> None:
        self.should_exit = True


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return TLS 1.2 or better with the configured files, or None without a certificate.

    Raises ValueError naming the file that cannot be used.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    password = settings.tls_key_password
    try:
        context.load_cert_chain(
            settings.tls_certificate,
            settings.tls_key,
            # An empty one, so that nobody is asked at a terminal.
            lambda: password.get_secret_value() if password else "",
        )
    except (ssl.SSLError, OSError) as error:
        raise ValueError(
            f"{settings.tls_certificate} and {settings.tls_key} are no certificate and its key, "
            f"or the password is wrong: {error}"
        ) from error
    if settings.tls_client_ca is not None:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except (ssl.SSLError, OSError) as error:
            raise ValueError(f"{settings.tls_client_ca}: holds no certificates: {error}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Config(uvicorn.Config):
    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        context = tls_context(settings)
        super().__init__(
            app,
            http=_PatientProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            ws=_StreamProtocol,
            ws_max_size=settings.max_upload_bytes,
            # Photographs do not shrink, and deflating them would block the event loop.
            ws_per_message_deflate=False,
            ws_ping_interval=settings.grpc_keepalive_s,
            ws_ping_timeout=settings.grpc_keepalive_s,
            # Longer than load balancers keep theirs (60 s), so that no request meets our closing.
            timeout_keep_alive=75,
            ssl_context_factory=(lambda *_: context) if context else None,
            timeout_graceful_shutdown=settings.shutdown_timeout_s,
        )
        self.request_timeout_s = settings.request_timeout_s


class _StreamProtocol(WebSocketsSansIOProtocol):
    """Lets streams end in order when the server stops, as `service.stream` makes them do."""

    def shutdown(self) -> None:
        if self.close_sent or not self.handshake_complete:
            super().shutdown()


class _PatientProtocol(HttpToolsProtocol):
    """Gives a client a limited time for a request's head, and for a body that nobody waits for.

    Where somebody waits for the body, that is UploadLimit, which can answer in order.
    """

    _timer: asyncio.TimerHandle | None = None
    _head_began = _head_complete = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_request()
        self._head_began = True

    def on_headers_complete(self) -> None:
        self._head_complete = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop_timer()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._stop_timer()
        super().handle_websocket_upgrade()

    def _expect_request(self) -> None:
        self._stop_timer()
        self._head_began = self._head_complete = False
        self._start_timer()

    def _start_timer(self) -> None:
        timeout_s: float = self.config.request_timeout_s  # type: ignore[attr-defined]
        self._timer = self.loop.call_later(timeout_s, self._too_slow, timeout_s)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _busy(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, which its type conceals
        return cycle is not None and not cycle.response_complete

    def _too_slow(self, timeout_s: float) -> None:
        if self.transport.is_closing():
            return
        if self._busy():
            # The application has the word; a request behind the one that it serves can wait.
            self._start_timer()
            return
        if self._head_began and not self._head_complete:
            self.transport.write(_slow_head_answer(timeout_s))
        # Without an answer where nothing was asked, or the answer came before the body.
        self.transport.close()


def _slow_head_answer(timeout_s: float) -> bytes:
    error = ServiceError("UPLOAD_TOO_SLOW", f"no request arrived within {timeout_s:g} s")
    REQUESTS.labels("other", "", str(error.row.http), error.reason).inc()
    log.info(error.detail)
    state = {"path": "", "request_id": request_id("")}
    response = problem_response({"type": "http", "state": state}, error, {"Connection": "close"})
    lines = [b"HTTP/1.1 408 Request Timeout"]
    lines += [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(response.body)])
