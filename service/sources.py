"""Where settings come from beside the command line: environment, a file, a folder of secrets."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

PREFIX = "HDSYNTH_"
_OTHERS = {"HDSYNTH_API_KEY"}
"""Variables of the clients, which may run where the server does."""

Fields = Mapping[str, FieldInfo]


def refuse_unknown(names: Iterable[str], known: Collection[str]) -> None:
    """Raise ValueError naming the first unknown setting and the known one nearest to it."""
    for name in names:
        if name not in known:
            _refuse(name, name, known)


def from_environment(known: Fields) -> dict[str, Any]:
    """Return the settings in the environment. Raises ValueError for an unknown one.

    ``HDSYNTH_TLS__KEY`` is ``HDSYNTH_TLS_KEY``, for tools that write tables that way.
    """
    values = {}
    for variable, value in sorted(os.environ.items()):
        if variable.upper().startswith(PREFIX) and variable.upper() not in _OTHERS:
            name = variable[len(PREFIX) :].lower().replace("__", "_")
            if name not in known:
                _refuse(variable, name, [PREFIX + field.upper() for field in known], PREFIX)
            values[name] = value
    return values


def from_file(path: Path, known: Fields) -> dict[str, Any]:
    """Return the settings in a TOML or YAML file; ``[tls] key`` is ``tls_key``.

    Raises ValueError naming the file if it cannot be read or holds what is no setting.
    """
    values = _flat(_read(path))
    for name in values:
        if name == "config":
            raise ValueError(f"{path}: a settings file cannot name another one")
        if name not in known:
            _refuse(f"{path}: {name}", name, known)
    return values


def from_secrets(folder: Path, known: Fields) -> dict[str, Any]:
    """Return the settings for which ``folder`` has a file. Raises ValueError if it is no folder.

    Other files are passed over: a folder of secrets may be shared.
    """
    if not folder.is_dir():
        raise ValueError(f"secrets_dir {folder} is no folder")
    values: dict[str, Any] = {}
    for name, field in known.items():
        file = folder / name
        if file.is_file():
            names_a_file = _is_path(field.annotation)
            values[name] = file if names_a_file else file.read_text(encoding="utf-8").strip()
    return values


def sources_of(settings: type[BaseSettings]) -> tuple[PydanticBaseSettingsSource, ...]:
    """Return the environment, the file and the secrets as sources, strongest first."""
    known = settings.model_fields

    def file(so_far: Mapping[str, Any]) -> dict[str, Any]:
        path = so_far.get("config")
        return from_file(Path(path), known) if path else {}

    def secrets(so_far: Mapping[str, Any]) -> dict[str, Any]:
        folder = so_far.get("secrets_dir")
        return from_secrets(Path(folder), known) if folder else {}

    readers = (lambda _: from_environment(known), file, secrets)
    return tuple(_Source(settings, reader) for reader in readers)


def origins(settings: BaseSettings, flags: Collection[str]) -> dict[str, str]:
    """Say of every setting where it came from, in words; ``flags`` are those given as such."""
    known = type(settings).model_fields
    config: Path | None = getattr(settings, "config", None)
    folder: Path | None = getattr(settings, "secrets_dir", None)
    environment = from_environment(known)
    file = from_file(config, known) if config else {}
    secrets = from_secrets(folder, known) if folder else {}

    def origin(name: str) -> str:
        if name in flags:
            return f"--{name.replace('_', '-')}"
        if name in environment:
            return PREFIX + name.upper()
        if name in file:
            return str(config)
        return str(folder) if name in secrets else "default"

    return {name: origin(name) for name in known}


def describe(settings: BaseSettings, flags: Collection[str]) -> str:
    """Return the settings as TOML for ``config``, each with where it came from; secrets hidden."""
    values = settings.model_dump(mode="json")
    lines = []
    for name, origin in origins(settings, flags).items():
        value = values[name]
        if isinstance(getattr(settings, name), SecretStr):
            lines.append(f"# {name} is set, and secret  # {origin}")
        elif value is None and isinstance(type(settings).model_fields[name].default, int):
            lines.append(f'{name} = "off"  # {origin}')
        elif value is None or name == "config":
            lines.append(f"# {name} = {json.dumps(value or '')}  # {origin}")
        else:
            lines.append(f"{name} = {json.dumps(_shown(value))}  # {origin}")
    return "\n".join(lines) + "\n"


def is_list(field: FieldInfo) -> bool:
    """Say whether a setting takes several values."""
    return isinstance(field.default, tuple)


def text_of(value: Any) -> str:
    """Write a value as flags and the environment have it: ``512x256,1024x512``."""
    if isinstance(value, tuple):
        joint = "x" if value and isinstance(value[0], int) else ","
        return joint.join(map(text_of, value))
    return str(value)


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        if value and isinstance(value[0], int):
            return "x".join(map(str, value))
        return [_shown(entry) for entry in value]
    return _hide_secrets(value) if isinstance(value, str) else value


def _hide_secrets(text: str) -> str:
    """Hide what a URL may carry beside the address: a password, or a signature in its query."""
    return re.sub(r"(?<=\?).+", "...", re.sub(r"(?<=://)[^/@]*@", "...@", text))


class _Source(PydanticBaseSettingsSource):
    """A reader of settings that is told what stronger sources have said."""

    def __init__(
        self,
        settings: type[BaseSettings],
        read: Callable[[Mapping[str, Any]], dict[str, Any]],
    ) -> None:
        super().__init__(settings)
        self._read = read

    def get_field_value(self, field: FieldInfo, field_name: str) -> NoReturn:  # noqa: ARG002, pydantic's
        raise AssertionError("this is a bug: settings are read all at once")

    def __call__(self) -> dict[str, Any]:
        return self._read(self.current_state)


def _read(path: Path) -> dict[str, Any]:
    import yaml

    parsers: dict[str, Callable[[str], Any]] = {
        ".toml": tomllib.loads,
        ".yaml": yaml.safe_load,
        ".yml": yaml.safe_load,
    }
    if path.suffix not in parsers:
        raise ValueError(f"{path}: settings come as .toml or .yaml")
    try:
        values = parsers[path.suffix](path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ValueError(f"{path}: {str(error.strerror).lower()}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):  # a list, in YAML
        raise ValueError(  # noqa: TRY004, the file is wrong, not the program
            f"{path}: holds no settings; write lines such as port: 8000"
        )
    return values


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("-", "_")
        flat |= _flat(value, f"{name}_") if isinstance(value, dict) else {name: value}
    return flat


def _is_path(annotation: Any) -> bool:
    return annotation is Path or any(_is_path(part) for part in get_args(annotation))


def _refuse(shown: str, name: str, known: Collection[str], prefix: str = "") -> NoReturn:
    near = difflib.get_close_matches(f"{prefix}{name.upper()}" if prefix else name, known, 1, 0)
    raise ValueError(f"{shown} is no setting; did you mean {near[0]}?")
