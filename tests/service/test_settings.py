from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide settings of whoever runs the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HDSYNTH_{name.upper()}", raising=False)


def test_settings_are_these() -> None:
    """The list of settings is part of the interface; it grows on purpose only."""
    assert list(Settings.model_fields) == [
        "host",
        "port",
        "model",
        "backend",
        "threads",
        "warm_size",
        "max_pixels",
        "max_upload_bytes",
        "shutdown_timeout_s",
    ]
    assert all(field.description for field in Settings.model_fields.values())


def test_defaults_serve_this_machine_only() -> None:
    """Without settings the bundled model is served on port 8000 of the loopback interface."""
    settings = Settings()
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8000, None)
    assert settings.max_pixels == 2048 * 1024


def test_environment_and_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting is an environment variable; an argument wins over it."""
    monkeypatch.setenv("HDSYNTH_PORT", "9000")
    monkeypatch.setenv("HDSYNTH_MODEL", "/models/mine")
    monkeypatch.setenv("HDSYNTH_WARM_SIZE", "1024x512")
    settings = Settings(port=9001)
    assert settings.port == 9001
    assert settings.model == Path("/models/mine")
    assert settings.warm_size == (1024, 512)


def test_unknown_settings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error is told with the settings that exist, as a variable and as an argument."""
    with pytest.raises(ValidationError, match="prot"):
        Settings(prot=9000)  # type: ignore[call-arg]
    monkeypatch.setenv("HDSYNTH_PROT", "9000")
    with pytest.raises(ValidationError, match=r"HDSYNTH_PROT is no setting; known are .*PORT"):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", "70000"), ("threads", "-1"), ("warm_size", "512"), ("warm_size", "0x256")],
)
def test_wrong_values_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value out of range is told with the setting and the value."""
    monkeypatch.setenv(f"HDSYNTH_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()
