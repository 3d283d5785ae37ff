"""Client of hdsynth, which turns label maps into photographs in real time."""

from typing import TYPE_CHECKING, Any

from hdsynth_client.errors import ConnectionFailedError, HdsynthError, ServiceError
from hdsynth_client.rest import AsyncClient, Client
from hdsynth_client.retry import Retry
from hdsynth_client.types import Between, Map, Model, ModelClass, Photo, Style, Styles

if TYPE_CHECKING:
    from hdsynth_client.rpc import AsyncGrpcClient, GrpcClient

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
    "Style",
    "Styles",
]


def __getattr__(name: str) -> Any:
    """Import what needs gRPC where it is used, so that REST works without."""
    if name not in {"AsyncGrpcClient", "GrpcClient"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from hdsynth_client import rpc
    except ImportError as error:
        raise ImportError(f"{name} needs gRPC: pip install 'hdsynth-client[grpc]'") from error
    return getattr(rpc, name)
