"""The gRPC health service: one status per name, asked for or watched.

The library's own one forgets a name's other watchers as soon as one of them leaves, and leaves
watchers waiting when the server stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.errors import ServiceError

if TYPE_CHECKING:
    from service.grpc_calls import Context

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # has no types
    """Tells which services and models are served; belongs to one event loop."""

    def __init__(self, state: Callable[[], Mapping[str, bool]], period_s: float = 0.25) -> None:
        """``state`` says of every name whether it is served now; other names are unknown.

        It is asked for every check, and every ``period_s`` seconds for every watch.
        """
        self._state, self._period_s = state, period_s
        self._closed = asyncio.Event()

    def close(self) -> None:
        """Tell that nothing is served any more, and end every watch after that."""
        self._closed.set()

    async def Check(  # noqa: N802, the protocol's name
        self, request: health_pb2.HealthCheckRequest, _context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Answer with the status of a name. Raises ServiceError NOT_FOUND."""
        status = self._status(request.service)
        if status == _UNKNOWN:
            name = request.service[:100]
            raise ServiceError("NOT_FOUND", f"service: {name!r} is neither a service nor a model")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(  # noqa: N802, the protocol's name
        self, request: health_pb2.HealthCheckRequest, _context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Answer with the status of a name, and again whenever it has changed."""
        last = None
        while True:
            is_last, status = self._closed.is_set(), self._status(request.service)
            if status != last:
                yield health_pb2.HealthCheckResponse(status=status)
                last = status
            if is_last:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), self._period_s)

    def _status(self, name: str) -> health_pb2.HealthCheckResponse.ServingStatus:
        state = self._state()
        if name not in state:
            return _UNKNOWN
        return _SERVING if state[name] and not self._closed.is_set() else _NOT_SERVING
