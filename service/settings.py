"""Every setting of the server, declared once: flag, environment variable, file entry, help text.

``port`` is also ``--port``, ``HDSYNTH_PORT`` and ``port = 8000`` in the file that ``--config`` or
``HDSYNTH_CONFIG`` names. Where several speak, the flag wins, then the environment, then the file,
then the secrets; ``service.sources`` reads them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    FilePath,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from service import sources
from service.backends import BACKENDS


def _size(value: object) -> object:
    """Read ``512x256`` as (width, height)."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+)x(\d+)", value.strip())
    if match is None:
        raise ValueError(f"{value!r} is no size; write WIDTHxHEIGHT, such as 512x256")
    return int(match[1]), int(match[2])


def _list(value: object) -> object:
    """Read ``a,b`` as two values, and one path as one."""
    if isinstance(value, str | Path):
        return tuple(part for part in (text.strip() for text in str(value).split(",")) if part)
    if isinstance(value, list | tuple):
        return tuple(str(entry) if isinstance(entry, Path) else entry for entry in value)
    return value


def _off(value: object) -> object:
    return None if value in ("off", "") else value


Side = Annotated[int, Field(ge=1)]
Size = Annotated[tuple[Side, Side], BeforeValidator(_size)]
Sizes = Annotated[tuple[Size, ...], NoDecode, BeforeValidator(_list)]
Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_list)]
OptionalPort = Annotated[
    Annotated[int, Field(ge=0, le=65535)] | None, NoDecode, BeforeValidator(_off)
]


class Settings(BaseSettings):
    """What a server can be told. Raises pydantic's ValidationError naming the wrong setting."""

    model_config = SettingsConfigDict(env_prefix=sources.PREFIX, extra="forbid", frozen=True)

    # Where the settings come from.
    config: FilePath | None = Field(
        default=None, description="TOML or YAML file with settings; flags and environment win"
    )
    secrets_dir: Path | None = Field(
        default=None,
        description="folder with one file per setting, named as it; its content is the value, "
        "or its path where the setting is a file",
    )
    # Addresses.
    host: str = Field(
        default="127.0.0.1", description="address to listen on; 0.0.0.0 = every interface"
    )
    port: int = Field(default=8000, ge=0, le=65535, description="HTTP port; 0 = any free one")
    grpc_port: OptionalPort = Field(
        default=8001, description="port of gRPC; 0 = any free one, off = no gRPC"
    )
    metrics_port: OptionalPort = Field(
        default=9400, description="port of the Prometheus metrics; 0 = any free one, off = none"
    )
    # Models and engines.
    model: Texts = Field(
        default=(),
        description="bundle to serve: folder, archive or URL, with NAME= before it if it needs "
        "another name; several as a list, the default first; default: the bundled model",
    )
    model_cache: Path | None = Field(
        default=None,
        description="folder for bundles that come from archives; default: in the user's cache",
    )
    backend: str = Field(default="auto", description=f"engine that runs it: {', '.join(BACKENDS)}")
    engine_cache: Path | None = Field(
        default=None, description="folder of built TensorRT engines; default: the user's cache"
    )
    judge: FilePath | None = Field(
        default=None,
        description="segmenter (ONNX) that scores photographs on request; default: none",
    )
    threads: int = Field(default=0, ge=0, description="threads of one inference; 0 = one per core")
    buckets: Sizes = Field(
        default=((512, 256),),
        min_length=1,
        description="WIDTHxHEIGHT in pixels to warm up before serving; several as a list",
    )
    # The queue.
    max_batch: int = Field(default=8, ge=1, description="most images that run at once")
    max_delay_ms: float = Field(
        default=0,
        ge=0,
        description="milliseconds that an idle engine waits for a fuller batch; 0 = none",
    )
    max_wait_s: float = Field(
        default=10, gt=0, description="predicted wait in seconds from which requests are refused"
    )
    result_cache_mb: int = Field(
        default=64, ge=0, description="megabytes of answers kept for repeated requests; 0 = none"
    )
    # Limits.
    max_pixels: int = Field(
        default=2048 * 1024,
        ge=1,
        description="largest scene in pixels, padding to a legal size included",
    )
    max_upload_bytes: int = Field(
        default=16 << 20,
        ge=1,
        description="largest request body in bytes; larger ones are not read",
    )
    request_timeout_s: float = Field(
        default=30, gt=0, description="seconds in which a request must have arrived in full"
    )
    rate_limit: float = Field(
        default=0,
        ge=0,
        description="requests per second of one API key, or of one address where there are no "
        "keys; 0 = unlimited",
    )
    concurrency_limit: int = Field(
        default=0, ge=0, description="requests of one key or address at once; 0 = unlimited"
    )
    # The end of the process.
    drain_delay_s: float = Field(
        default=0,
        ge=0,
        description="seconds to go on serving, not ready, after SIGTERM, until load balancers know",
    )
    shutdown_timeout_s: int = Field(
        default=30, ge=0, description="seconds that running requests then get to finish"
    )
    # Who may ask.
    api_keys_file: FilePath | None = Field(
        default=None,
        description="file of API keys as `hdsynth key` prints them; default: no key is needed",
    )
    admin_keys: Texts = Field(
        default=(),
        description="names of the API keys that may load, reload and unload models; default: none",
    )
    cors_origins: Texts = Field(
        default=(), description="web origins whose pages may call, such as https://example.org"
    )
    tls_certificate: FilePath | None = Field(
        default=None, description="PEM file with the server's certificate chain; turns TLS on"
    )
    tls_key: FilePath | None = Field(default=None, description="PEM file with its private key")
    tls_key_password: SecretStr | None = Field(
        default=None, description="password of the private key"
    )
    tls_client_ca: FilePath | None = Field(
        default=None,
        description="PEM file with the authorities that clients' certificates must come from",
    )
    grpc_keepalive_s: float = Field(
        default=60, gt=0, description="seconds between pings on an idle gRPC connection"
    )
    # What it tells.
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="text or json lines; auto = text on a terminal"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error"
    )
    tracing_endpoint: str | None = Field(
        default=None,
        description="OTLP gRPC address of a trace collector, such as http://localhost:4317",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Name the sources, strongest first."""
        return (init_settings, *sources.sources_of(settings_cls))

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_names(cls, values: Any) -> Any:
        sources.refuse_unknown(values, cls.model_fields)
        return values

    @model_validator(mode="after")
    def _check_admin(self) -> Settings:
        if self.admin_keys and self.api_keys_file is None:
            raise ValueError("admin_keys needs api_keys_file")
        return self

    @model_validator(mode="after")
    def _check_tls(self) -> Settings:
        pairs = ("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")
        for given, needed in (*pairs, ("tls_client_ca", "tls_certificate")):
            if getattr(self, given) and not getattr(self, needed):
                raise ValueError(f"{given} needs {needed}")
        return self
