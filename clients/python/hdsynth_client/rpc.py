"""The gRPC clients, with and without ``await``; they need the ``grpc`` extra."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self, cast

import grpc
import grpc.aio
import numpy as np
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from hdsynth_client._wire import synthesis_pb2 as pb
from hdsynth_client.errors import ConnectionFailedError, HdsynthError, ServiceError
from hdsynth_client.retry import Retry
from hdsynth_client.types import (
    ELEMENT_TYPES,
    Between,
    Format,
    Map,
    Model,
    ModelClass,
    Photo,
    Style,
    Styles,
    as_plane,
)

_SERVICE = "/hdsynth.v1.SynthesisService/"
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # raw photographs exceed the usual 4 MiB,
    ("grpc.http2.lookahead_bytes", 8 << 20),  # and are sent without a wait for every 64 KiB
]
_FORMATS: dict[Format, pb.ImageFormat] = {
    "png": pb.IMAGE_FORMAT_PNG,
    "jpeg": pb.IMAGE_FORMAT_JPEG,
    "webp": pb.IMAGE_FORMAT_WEBP,
    "raw": pb.IMAGE_FORMAT_RAW,
}
_FORMAT_NAMES = {value: name for name, value in _FORMATS.items()}
_ELEMENT_VALUES = {
    "uint8": pb.ELEMENT_TYPE_UINT8,
    "uint16": pb.ELEMENT_TYPE_UINT16,
    "int32": pb.ELEMENT_TYPE_INT32,
}
_RETRYABLE = {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}


def map_message(map_: Map, name: str) -> pb.Map:
    """Write a map; arrays travel deflated. Raises ValueError for an array that is no map."""
    if not isinstance(map_, np.ndarray):
        return pb.Map(encoding=pb.MAP_ENCODING_FILE, data=map_)
    plane = as_plane(map_, name)
    return pb.Map(
        encoding=pb.MAP_ENCODING_RAW_ZLIB,
        element_type=_ELEMENT_VALUES[ELEMENT_TYPES[plane.dtype]],
        width=plane.shape[1],
        height=plane.shape[0],
        data=zlib.compress(plane.tobytes(), 1),
    )


def styles_message(styles: Styles) -> pb.Styles:
    """Write which style every object gets."""
    return pb.Styles(
        seed=styles.seed,
        instances={key: _style(style) for key, style in styles.instances.items()},
        classes={key: _style(style) for key, style in styles.classes.items()},
    )


def photo_of(message: pb.Photo, model_version: str, seconds: pb.StageSeconds) -> Photo:
    """Read a photograph."""
    return Photo(
        data=message.data,
        format=_FORMAT_NAMES[message.format],
        width=message.width,
        height=message.height,
        model_version=model_version,
        seconds={name: getattr(seconds, name) for name in ("decode", "queue", "infer", "encode")},
    )


def open_channel(address: str, tls: bool, ca: str | None) -> grpc.Channel:
    """Open a channel, which connects at the first call. Raises OSError for ``ca``."""
    if (credentials := _credentials(tls, ca)) is None:
        return grpc.insecure_channel(address, _OPTIONS)
    return grpc.secure_channel(address, credentials, _OPTIONS)


def open_aio_channel(address: str, tls: bool, ca: str | None) -> grpc.aio.Channel:
    """Open a channel for ``await``, which connects at the first call. Raises OSError for ``ca``."""
    if (credentials := _credentials(tls, ca)) is None:
        return grpc.aio.insecure_channel(address, _OPTIONS)
    return grpc.aio.secure_channel(address, credentials, _OPTIONS)


def key_metadata(key: str | None) -> tuple[tuple[str, str], ...]:
    """Return what an API key travels in."""
    return (("x-api-key", key),) if key else ()


def error_of(error: grpc.RpcError, deadline_s: float | None = None) -> HdsynthError:
    """Read why a call failed; ``deadline_s`` is the deadline that the caller had given."""
    call = cast("Any", error)
    code, words = call.code(), call.details() or ""
    trailers = dict(call.trailing_metadata() or ())
    reason, retry_after_s = _details(trailers.get("grpc-status-details-bin", b""))
    if reason is None:  # not from the server but from the library, here or there
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and deadline_s is not None:
            return ServiceError(code.name, f"no answer came within {deadline_s:g} s")
        if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
            return ConnectionFailedError(f"{code.name}: {words}")
    return ServiceError(
        reason or code.name,
        words,
        request_id=str(trailers.get("x-request-id", "")),
        retry_after_s=retry_after_s,
        retryable=reason is not None and code in _RETRYABLE,
    )


def _details(data: str | bytes) -> tuple[str | None, float | None]:
    """Return the reason and the time to come back that a rich status (google.rpc) names."""
    reason, retry_after_s = None, None
    for detail in status_pb2.Status.FromString(data).details if data else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = str(info.reason)
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToMilliseconds() / 1000
    return reason, retry_after_s


def _credentials(tls: bool, ca: str | None) -> grpc.ChannelCredentials | None:
    if ca is None:
        return grpc.ssl_channel_credentials() if tls else None
    with open(ca, "rb") as file:  # noqa: PTH123, one line beats an import
        return grpc.ssl_channel_credentials(file.read())


def _style(style: Style) -> pb.Style:
    match style:
        case Between():
            between = pb.StyleBetween(
                first=_style(style.first), second=_style(style.second), at=style.at
            )
            return pb.Style(between=between)
        case int():
            return pb.Style(cluster=style)
    return pb.Style(code=pb.StyleCode(values=style))


def _request(
    label: Map,
    instance: Map | None,
    styles: Styles,
    format_: Format,
    quality: int | None,
    model: str,
    style_photo: bytes | None,
    *,
    min_faithfulness: float | None,
) -> pb.SynthesizeRequest:
    return pb.SynthesizeRequest(
        model=model,
        label=map_message(label, "label"),
        instance=None if instance is None else map_message(instance, "instance"),
        styles=styles_message(styles),
        format=_FORMATS[format_],
        quality=quality or 0,
        style_photo=style_photo or b"",
        min_faithfulness=min_faithfulness,
    )


def _photo(response: pb.SynthesizeResponse) -> Photo:
    photo = photo_of(response.photo, response.model_version, response.seconds)
    judged = response.HasField("faithfulness")
    return replace(photo, faithfulness=response.faithfulness if judged else None)


def _models(response: pb.ListModelsResponse) -> list[Model]:
    return [
        Model(
            name=model.name,
            version=model.version,
            engine=model.engine,
            classes=tuple(
                ModelClass(c.id, c.name, _colour(c.colour), c.styles) for c in model.classes
            ),
            max_pixels=model.max_pixels,
            style_channels=model.style_channels,
        )
        for model in response.models
    ]


def _colour(value: int) -> tuple[int, int, int]:
    return value >> 16, value >> 8 & 255, value & 255


def _calls(channel: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the two methods of either kind of channel."""
    synthesize = channel.unary_unary(
        f"{_SERVICE}Synthesize",
        request_serializer=pb.SynthesizeRequest.SerializeToString,
        response_deserializer=pb.SynthesizeResponse.FromString,
    )
    list_models = channel.unary_unary(
        f"{_SERVICE}ListModels",
        request_serializer=pb.ListModelsRequest.SerializeToString,
        response_deserializer=pb.ListModelsResponse.FromString,
    )
    return synthesize, list_models


class GrpcClient:
    """Calls a server over gRPC. A context manager; safe to use from several threads."""

    def __init__(
        self,
        address: str = "localhost:8001",
        key: str | None = None,
        *,
        retry: Retry | None = None,
        timeout_s: float = 60.0,
        tls: bool = False,
        ca: str | None = None,
    ) -> None:
        """Connect lazily; ``key`` is an API key.

        ``ca`` is a PEM file of the authorities to trust instead of the system's; it implies
        ``tls``.
        """
        self._channel = open_channel(address, tls, ca)
        self._synthesize, self._list_models = _calls(self._channel)
        self._metadata, self._timeout_s = key_metadata(key), timeout_s
        self._retry = retry or Retry()

    def synthesize(
        self,
        label: Map,
        instance: Map | None = None,
        styles: Styles | None = None,
        *,
        seed: int = 0,
        format: Format = "png",  # noqa: A002, the word of the interface
        quality: int | None = None,
        deadline_s: float | None = None,
        model: str = "",
        style_photo: bytes | None = None,
        min_faithfulness: float | None = None,
    ) -> Photo:
        """Turn maps into a photograph; ``styles`` wins over ``seed``.

        ``style_photo`` is a photograph of the same layout (JPEG, PNG or WebP), whose styles
        objects get that ``styles`` does not name.

        ``min_faithfulness`` (0..1) asks for ``Photo.faithfulness``, and for the error UNFAITHFUL
        below it; servers without a judge answer NO_JUDGE.

        Raises ServiceError, ConnectionFailedError, and ValueError for an array that is no map.
        """
        chosen = styles or Styles(seed)
        request = _request(
            label,
            instance,
            chosen,
            format,
            quality,
            model,
            style_photo,
            min_faithfulness=min_faithfulness,
        )
        return self._retry.run(lambda: _photo(self._call(self._synthesize, request, deadline_s)))

    def models(self) -> list[Model]:
        """Describe the models being served, the default first."""
        request = pb.ListModelsRequest()
        return self._retry.run(lambda: _models(self._call(self._list_models, request, None)))

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _call(self, call: Callable[..., Any], request: object, deadline_s: float | None) -> Any:
        timeout = min(self._timeout_s, math.inf if deadline_s is None else deadline_s)
        try:
            return call(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error, deadline_s) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncGrpcClient:
    """The same for ``await``; an asynchronous context manager, made inside an event loop."""

    def __init__(
        self,
        address: str = "localhost:8001",
        key: str | None = None,
        *,
        retry: Retry | None = None,
        timeout_s: float = 60.0,
        tls: bool = False,
        ca: str | None = None,
    ) -> None:
        """Connect lazily; arguments as of ``GrpcClient``."""
        self._channel = open_aio_channel(address, tls, ca)
        self._synthesize, self._list_models = _calls(self._channel)
        self._metadata, self._timeout_s = key_metadata(key), timeout_s
        self._retry = retry or Retry()

    async def synthesize(
        self,
        label: Map,
        instance: Map | None = None,
        styles: Styles | None = None,
        *,
        seed: int = 0,
        format: Format = "png",  # noqa: A002, the word of the interface
        quality: int | None = None,
        deadline_s: float | None = None,
        model: str = "",
        style_photo: bytes | None = None,
        min_faithfulness: float | None = None,
    ) -> Photo:
        """Turn maps into a photograph, as ``GrpcClient.synthesize``."""
        chosen = styles or Styles(seed)
        request = _request(
            label,
            instance,
            chosen,
            format,
            quality,
            model,
            style_photo,
            min_faithfulness=min_faithfulness,
        )

        async def call() -> Photo:
            return _photo(await self._call(self._synthesize, request, deadline_s))

        return await self._retry.run_async(call)

    async def models(self) -> list[Model]:
        """Describe the models being served, the default first."""

        async def call() -> list[Model]:
            return _models(await self._call(self._list_models, pb.ListModelsRequest(), None))

        return await self._retry.run_async(call)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._channel.close(None)

    async def _call(
        self, call: Callable[..., Any], request: object, deadline_s: float | None
    ) -> Any:
        timeout = min(self._timeout_s, math.inf if deadline_s is None else deadline_s)
        try:
            return await call(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error, deadline_s) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
