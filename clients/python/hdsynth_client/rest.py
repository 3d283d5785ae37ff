"""The REST clients, with and without ``await``."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any, Self

import httpx
import numpy as np

from hdsynth_client.errors import ConnectionFailedError, ServiceError
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

_MEDIA_TYPES: dict[Format, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "raw": "application/octet-stream",
}
_RETRYABLE = {429, 503}


def _settings(url: str, key: str | None, timeout_s: float, ca: str | None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    settings: dict[str, Any] = {"base_url": url, "headers": headers, "timeout": timeout_s}
    if ca is not None:
        import ssl

        settings["verify"] = ssl.create_default_context(cafile=ca)
    return settings


def _form(
    label: Map,
    instance: Map | None,
    styles: Styles,
    quality: int | None,
    deadline_s: float | None,
    style_photo: bytes | None,
    min_faithfulness: float | None,
) -> dict[str, Any]:
    """Build the multipart form; arrays travel deflated, which is faster than PNG on both ends."""
    options: dict[str, Any] = {
        "seed": styles.seed,
        "styles": {str(k): _style(v) for k, v in styles.instances.items()},
        "class_styles": {str(k): _style(v) for k, v in styles.classes.items()},
    }
    if quality is not None:
        options["quality"] = quality
    if deadline_s is not None:
        options["deadline_ms"] = max(1, round(deadline_s * 1000))
    if min_faithfulness is not None:
        options["min_faithfulness"] = min_faithfulness
    files = {}
    for name, map_ in (("label", label), ("instance", instance)):
        if isinstance(map_, np.ndarray):
            plane = as_plane(map_, name)
            options[name] = {
                "encoding": "raw_zlib",
                "element_type": ELEMENT_TYPES[plane.dtype],
                "width": plane.shape[1],
                "height": plane.shape[0],
            }
            files[name] = zlib.compress(plane.tobytes(), 1)
        elif map_ is not None:
            files[name] = map_
    if style_photo is not None:
        files["style_photo"] = style_photo
    return {"files": files, "data": {"options": json.dumps(options)}}


def _style(style: Style) -> Any:
    if isinstance(style, Between):
        return {"between": [style.first, style.second], "at": style.at}
    return style


def _photo(response: httpx.Response, format_: Format) -> Photo:
    _check(response)
    timing = response.headers.get("server-timing", "")
    found = re.findall(r"(\w+);dur=([\d.]+)", timing)
    width, height = (response.headers.get(f"x-image-{side}") for side in ("width", "height"))
    return Photo(
        data=response.content,
        format=format_,
        width=int(width) if width else None,
        height=int(height) if height else None,
        model_version=response.headers.get("x-model-version", ""),
        seconds={stage: float(ms) / 1000 for stage, ms in found},
        faithfulness=float(score) if (score := response.headers.get("x-faithfulness")) else None,
    )


def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    after = response.headers.get("retry-after", "")
    raise ServiceError(
        problem.get("reason", f"HTTP_{response.status_code}"),
        problem.get("detail", response.reason_phrase),
        request_id=response.headers.get("x-request-id", ""),
        retry_after_s=float(after) if after.isdecimal() else None,
        retryable=response.status_code in _RETRYABLE,
    )


def _models(response: httpx.Response) -> list[Model]:
    _check(response)
    return [
        Model(
            name=model["name"],
            version=model["version"],
            engine=model["engine"],
            classes=tuple(
                ModelClass(c["id"], c["name"], tuple(c["colour"]), c["styles"])
                for c in model["classes"]
            ),
            max_pixels=model["size"]["max_pixels"],
            style_channels=model["style_channels"],
        )
        for model in response.json()["models"]
    ]


def _path(model: str) -> str:
    return f"/v1/models/{model}:synthesize" if model else "/v1/synthesize"


def _failure(error: httpx.TransportError) -> ConnectionFailedError:
    return ConnectionFailedError(f"{type(error).__name__}: {error}".rstrip(": "))


class Client:
    """Calls a server over REST. A context manager; safe to use from several threads."""

    def __init__(
        self,
        url: str = "http://localhost:8000",
        key: str | None = None,
        *,
        retry: Retry | None = None,
        timeout_s: float = 60.0,
        ca: str | None = None,
    ) -> None:
        """Connect lazily; ``key`` is an API key.

        ``ca`` is a PEM file of the authorities to trust instead of the system's.
        """
        self._http = httpx.Client(**_settings(url, key, timeout_s, ca))
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
        form = _form(label, instance, chosen, quality, deadline_s, style_photo, min_faithfulness)
        headers = {"Accept": _MEDIA_TYPES[format]}

        def call() -> Photo:
            try:
                return _photo(self._http.post(_path(model), headers=headers, **form), format)
            except httpx.TransportError as error:
                raise _failure(error) from error

        return self._retry.run(call)

    def models(self) -> list[Model]:
        """Describe the models being served, the default first."""

        def call() -> list[Model]:
            try:
                return _models(self._http.get("/v1/models"))
            except httpx.TransportError as error:
                raise _failure(error) from error

        return self._retry.run(call)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient:
    """The same for ``await``; an asynchronous context manager."""

    def __init__(
        self,
        url: str = "http://localhost:8000",
        key: str | None = None,
        *,
        retry: Retry | None = None,
        timeout_s: float = 60.0,
        ca: str | None = None,
    ) -> None:
        """Connect lazily; arguments as of ``Client``."""
        self._http = httpx.AsyncClient(**_settings(url, key, timeout_s, ca))
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
        """Turn maps into a photograph, as ``Client.synthesize``."""
        chosen = styles or Styles(seed)
        form = _form(label, instance, chosen, quality, deadline_s, style_photo, min_faithfulness)
        headers = {"Accept": _MEDIA_TYPES[format]}

        async def call() -> Photo:
            try:
                return _photo(await self._http.post(_path(model), headers=headers, **form), format)
            except httpx.TransportError as error:
                raise _failure(error) from error

        return await self._retry.run_async(call)

    async def models(self) -> list[Model]:
        """Describe the models being served, the default first."""

        async def call() -> list[Model]:
            try:
                return _models(await self._http.get("/v1/models"))
            except httpx.TransportError as error:
                raise _failure(error) from error

        return await self._retry.run_async(call)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
