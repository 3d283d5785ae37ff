"""Client of hdsynth, which turns label maps into photographs in real time."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hdsynth_client.errors import ConnectionFailedError, HdsynthError, ServiceError
from hdsynth_client.rest import AsyncClient, Client
from hdsynth_client.retry import Retry
from hdsynth_client.types import Between, Map, Model, ModelClass, Photo, Style, Styles

if TYPE_CHECKING:
    from hdsynth_client.rpc import AsyncGrpcClient, GrpcClient
    from hdsynth_client.stream import open_async_stream, open_stream
    from hdsynth_client.stream_config import StreamConfig

__all__ = [
    "AsyncClient",
    "AsyncGrpcClient",
    "Between",
    "Client",
    "ConnectionFailedError",
    "GrpcClient",
    "HdsynthError",
    "Map",
    "Model",
    "ModelClass",
    "Photo",
    "Retry",
    "ServiceError",
    "StreamConfig",
    "Style",
    "Styles",
    "open_async_stream",
    "open_stream",
]

_NEED_GRPC = {
    "AsyncGrpcClient": "rpc",
    "GrpcClient": "rpc",
    "StreamConfig": "stream_config",
    "open_async_stream": "stream",
    "open_stream": "stream",
}


def __getattr__(name: str) -> Any:
    """Import what needs gRPC where it is used, so that REST works without."""
    if name not in _NEED_GRPC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"hdsynth_client.{_NEED_GRPC[name]}")
    except ImportError as error:
        raise ImportError(f"{name} needs gRPC: pip install 'hdsynth-client[grpc]'") from error
    return getattr(module, name)
