"""What happens around every gRPC call: an id, a key, readable errors, metrics, a log line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import grpc
import grpc.aio

from service import metrics
from service.auth import Authenticator
from service.errors import ServiceError
from service.grpc_status import rich_status
from service.limits import Limiter
from service.log import request_scope
from service.request_ids import request_id

access_log = logging.getLogger("service.access")
error_log = logging.getLogger("service.error")

if TYPE_CHECKING:
    from service.tracing import RequestTrace, Tracing

    # Generic in the stubs alone.
    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]
    ServerInterceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    ServerInterceptor = grpc.aio.ServerInterceptor

# Probes come without a key, and must not fill the log.
OPEN_METHODS = frozenset(
    {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ServerReady",
        "/inference.GRPCInferenceService/ModelReady",
    }
)


@dataclass
class Call:
    """The call that the current task serves."""

    method: str
    request_id: str
    address: str
    """Of the client."""
    caller: str = ""
    """Name of the API key; empty where none is needed."""
    model: str = ""
    """Set by the handler once it is known, for the metrics."""
    model_version: str = ""
    times: dict[str, float] = field(default_factory=dict)
    """Seconds of each stage, filled by the pipeline."""
    code: str = "OK"
    """How it ended, as gRPC calls it."""
    reason: str = "OK"
    """How it ended, as `service.errors` calls it."""


_current: ContextVar[Call] = ContextVar("call")


def current_call() -> Call:
    """Return the call that this task serves."""
    return _current.get()


@dataclass(frozen=True)
class _Malformed:
    """Stands for a message that could not be parsed."""

    fault: str


class CallGuard(ServerInterceptor):
    """Surrounds every handler of a server, so that no handler has to.

    Streaming handlers must be asynchronous generators.
    """

    def __init__(
        self, authenticator: Authenticator, limiter: Limiter, tracing: Tracing | None = None
    ) -> None:
        self._authenticator, self._limiter, self._tracing = authenticator, limiter, tracing

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of one call."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:  # answered UNIMPLEMENTED by the library
            return None
        method = handler_call_details.method

        async def unary(request: Any, context: Context) -> Any:
            async with self._call(method, context):
                return await handler.unary_unary(_readable(request), context)

        async def stream(request: Any, context: Context) -> None:
            async with self._call(method, context):
                given = (_each_readable if handler.request_streaming else _readable)(request)
                serve = handler.stream_stream or handler.unary_stream
                async with aclosing(serve(given, context)) as replies:
                    async for reply in replies:
                        await context.write(reply)

        codec = {
            "request_deserializer": _lenient(handler.request_deserializer),
            "response_serializer": handler.response_serializer,
        }
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(stream, **codec)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, **codec)
        return grpc.unary_unary_rpc_method_handler(unary, **codec)

    @asynccontextmanager
    async def _call(self, method: str, context: Context) -> AsyncIterator[None]:
        """Let the caller in, and tell it how the call ended."""
        given = {key: str(value) for key, value in context.invocation_metadata() or ()}
        call = Call(method, request_id(given.get("x-request-id", "")), _address(context))
        _current.set(call)
        with request_scope(call.request_id), self._recorded(call, given):
            try:
                with self._admitted(call, given):
                    yield
                context.set_trailing_metadata(_about(call))
            except ServiceError as error:
                await _abort(context, error, call)
            except asyncio.CancelledError:
                late = (context.time_remaining() or 1) <= 0
                call.code = call.reason = "DEADLINE_EXCEEDED" if late else "CANCELLED"
                raise
            except Exception:  # noqa: BLE001, it is logged and told
                error_log.exception("request %s failed", call.request_id)
                words = "the server failed; its log has the details under the request id"
                await _abort(context, ServiceError("INTERNAL", words), call)

    @contextmanager
    def _recorded(self, call: Call, given: dict[str, str]) -> Iterator[None]:
        """Tell log, metrics and traces how the call went."""
        if call.method in OPEN_METHODS:
            yield
            return
        started = perf_counter()
        trace = self._tracing.start(call.method, given) if self._tracing else None
        try:
            yield
        finally:
            seconds = perf_counter() - started
            api = f"grpc.{call.method.rpartition('/')[2]}"
            metrics.REQUESTS.labels(api, call.model, call.code, call.reason).inc()
            metrics.REQUEST_SECONDS.labels(api, call.model).observe(seconds)
            fields: dict[str, Any] = {
                "path": call.method, "status": call.code, "reason": call.reason,
                "duration_ms": round(seconds * 1000, 1), "api": api, "model": call.model,
                "caller": call.caller, "client": call.address,
            }  # fmt: skip
            if trace is not None:
                fields["trace_id"] = trace.trace_id
                _end(trace, call)
            words = "%s %s %.0f ms"
            access_log.info(words, call.method, call.code, seconds * 1000, extra=fields)

    @contextmanager
    def _admitted(self, call: Call, given: dict[str, str]) -> Iterator[None]:
        if call.method in OPEN_METHODS:
            yield
            return
        call.caller = self._authenticator.identify(
            given.get("authorization"), given.get("x-api-key")
        )
        with self._limiter.admit(call.caller or call.address):
            yield


def _address(context: Context) -> str:
    # From ipv4:192.0.2.1:50000 or ipv6:%5B::1%5D:50000; the port changes with every connection.
    host = context.peer().partition(":")[2].rpartition(":")[0]
    return unquote(host).strip("[]")


def _end(trace: RequestTrace, call: Call) -> None:
    service, _, method = call.method[1:].partition("/")
    attributes = {
        "rpc.system": "grpc",
        "rpc.service": service,
        "rpc.method": method,
        "hdsynth.model": call.model,
        "hdsynth.reason": call.reason,
        "hdsynth.request_id": call.request_id,
    }
    trace.end(call.method[1:], call.times, attributes, failed=call.code == "INTERNAL")


async def _abort(context: Context, error: ServiceError, call: Call) -> None:
    call.code, call.reason = error.row.grpc, error.reason
    status: Any = rich_status(error, call.request_id)
    told = ((name.lower(), value) for name, value in error.headers.items())
    metadata = (*status.trailing_metadata, *_about(call), *told)
    await context.abort(status.code, status.details, metadata)


def _about(call: Call) -> tuple[tuple[str, str], ...]:
    """Metadata that every answer carries, as the headers of REST do."""
    about = [("x-request-id", call.request_id)]
    if call.model_version:
        about.append(("x-model-version", call.model_version))
    return tuple(about)


def _lenient(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        # An exception in here would be told to the client as the server's fault.
        try:
            return parse(data)
        except Exception as error:  # noqa: BLE001, whatever the library's parser raises
            return _Malformed(str(error))

    return read


def _readable(message: Any) -> Any:
    if isinstance(message, _Malformed):
        raise ServiceError(
            "INVALID_MESSAGE",
            f"the message cannot be read: {message.fault[:200]}; check that "
            "client and server use the same .proto file",
        )
    return message


async def _each_readable(messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for message in messages:
        yield _readable(message)
