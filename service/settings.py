"""Every setting of the server, declared once: field, environment variable and help text.

``port`` is also ``HDSYNTH_PORT``, and so on. Arguments win over the environment.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.backends import BACKENDS

_PREFIX = "HDSYNTH_"


def _size(value: object) -> object:
    """Read ``512x256`` as (width, height)."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+)x(\d+)", value)
    if match is None:
        raise ValueError(f"{value!r} is no size; write WIDTHxHEIGHT, such as 512x256")
    return int(match[1]), int(match[2])


Side = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """What a server can be told. Raises pydantic's ValidationError naming the wrong setting."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid", frozen=True)

    host: str = Field(
        default="127.0.0.1", description="address to listen on; 0.0.0.0 = every interface"
    )
    port: int = Field(
        default=8000, ge=0, le=65535, description="port to listen on; 0 = any free one"
    )
    model: Path | None = Field(
        default=None, description="bundle folder; default: the bundled model"
    )
    backend: str = Field(default="onnx", description=f"engine that runs it: {', '.join(BACKENDS)}")
    threads: int = Field(default=0, ge=0, description="threads of one inference; 0 = one per core")
    warm_size: Annotated[tuple[Side, Side], NoDecode, BeforeValidator(_size)] = Field(
        default=(512, 256), description="WIDTHxHEIGHT in pixels that is run once before serving"
    )
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
    shutdown_timeout_s: int = Field(
        default=30, ge=0, description="seconds that running requests get to finish after SIGTERM"
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_variables(cls, values: Any) -> Any:
        # pydantic-settings passes over variables it does not know, typing errors included.
        known = {f"{_PREFIX}{name}".upper() for name in cls.model_fields}
        ours = (key for key in os.environ if key.upper().startswith(_PREFIX))
        unknown = sorted(key for key in ours if key.upper() not in known)
        if unknown:
            raise ValueError(f"{unknown[0]} is no setting; known are {', '.join(sorted(known))}")
        return values
