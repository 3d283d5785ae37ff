import asyncio
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from service.errors import ServiceError
from service.grpc_health import Health

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
CONTEXT: Any = None


def request(name: str) -> health_pb2.HealthCheckRequest:
    """Ask for a name."""
    return health_pb2.HealthCheckRequest(service=name)


def test_watchers_see_every_change_and_the_end() -> None:
    """Two watchers of one name see its model come, fail, be unloaded, and the server stop."""
    state: dict[str, bool] = {}
    health = Health(lambda: state, period_s=0.001)

    async def watch(changes: asyncio.Queue[int]) -> None:
        async for response in health.Watch(request("tiny"), CONTEXT):
            await changes.put(int(response.status))

    async def story() -> None:
        seen: list[asyncio.Queue[int]] = [asyncio.Queue(), asyncio.Queue()]
        watches = [asyncio.create_task(watch(changes)) for changes in seen]
        for now, told in (
            ({"": False}, UNKNOWN),
            ({"": True, "tiny": True}, SERVING),
            ({"tiny": False}, NOT_SERVING),
            ({}, UNKNOWN),
            ({"tiny": True}, SERVING),
        ):
            state.clear()
            state.update(now)
            assert [await changes.get() for changes in seen] == [told, told]
        health.close()
        await asyncio.gather(*watches)
        assert [await changes.get() for changes in seen] == [NOT_SERVING, NOT_SERVING]

    asyncio.run(story())


def test_stopped_server_serves_nothing_again() -> None:
    """Whatever the models say after the end, nobody is sent here."""
    health = Health(lambda: {"": True})
    assert asyncio.run(health.Check(request(""), CONTEXT)).status == SERVING
    health.close()
    assert asyncio.run(health.Check(request(""), CONTEXT)).status == NOT_SERVING


def test_unknown_name() -> None:
    """The protocol wants an error for a name that nobody knows."""
    with pytest.raises(ServiceError, match="'nobody' is neither") as caught:
        asyncio.run(Health(dict).Check(request("nobody"), CONTEXT))
    assert caught.value.row.grpc == "NOT_FOUND"
