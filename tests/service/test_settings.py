import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("HDSYNTH_")]:
        monkeypatch.delenv(name)


def test_settings_are_these() -> None:
    """The list of settings is part of the interface; it grows on purpose only."""
    names = """
        config secrets_dir host port grpc_port metrics_port model model_cache backend
        engine_cache judge threads buckets max_batch max_delay_ms max_wait_s result_cache_mb
        max_pixels max_upload_bytes request_timeout_s rate_limit concurrency_limit drain_delay_s
        shutdown_timeout_s api_keys_file admin_keys cors_origins tls_certificate tls_key
        tls_key_password tls_client_ca grpc_keepalive_s log_format log_level tracing_endpoint
    """
    assert list(Settings.model_fields) == names.split()
    assert all(field.description for field in Settings.model_fields.values())


def test_defaults_serve_this_machine_only() -> None:
    """Without settings the bundled model is served on port 8000 of the loopback interface."""
    settings = Settings()
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8000, ())
    assert settings.max_pixels == 2048 * 1024
    assert settings.cors_origins == ()


def test_environment_and_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting is an environment variable; an argument wins over it."""
    monkeypatch.setenv("HDSYNTH_PORT", "9000")
    monkeypatch.setenv("HDSYNTH_GRPC_PORT", "off")
    monkeypatch.setenv("HDSYNTH_MODEL", "/models/mine, night=/models/other")
    monkeypatch.setenv("HDSYNTH_BUCKETS", "1024x512,64x64")
    monkeypatch.setenv("HDSYNTH_LOG__LEVEL", "debug")
    settings = Settings(port=9001)
    assert (settings.port, settings.grpc_port) == (9001, None)
    assert settings.model == ("/models/mine", "night=/models/other")
    assert settings.buckets == ((1024, 512), (64, 64))
    assert settings.log_level == "debug"


def test_variable_of_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that clients read from the environment is no setting, and in nobody's way."""
    monkeypatch.setenv("HDSYNTH_API_KEY", "hdsynth_abc")
    assert Settings().api_keys_file is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.toml", 'port = 1\nhost = "::1"\nbuckets = ["64x64"]\n[log]\nformat = "json"\n'),
        ("s.yaml", "port: 1\nhost: '::1'\nbuckets: [64x64]\nlog-format: json\n"),
    ],
)
def test_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, text: str) -> None:
    """A file gives what neither arguments nor the environment give; tables may group it."""
    (tmp_path / name).write_text(text)
    monkeypatch.setenv("HDSYNTH_CONFIG", str(tmp_path / name))
    monkeypatch.setenv("HDSYNTH_HOST", "192.0.2.7")
    settings = Settings(threads=2)
    assert (settings.port, settings.threads) == (1, 2)
    assert settings.host == "192.0.2.7"
    assert settings.buckets == ((64, 64),)
    assert settings.log_format == "json"


def test_secrets(tmp_path: Path) -> None:
    """A file of a setting's name is its value, or is meant itself; secrets do not show."""
    (tmp_path / "tls_key_password").write_text("swordfish\n")
    (tmp_path / "api_keys_file").write_text("")
    (tmp_path / "something_else").write_text("shared folder")
    settings = Settings(secrets_dir=tmp_path)
    assert settings.tls_key_password is not None
    assert settings.tls_key_password.get_secret_value() == "swordfish"
    assert settings.api_keys_file == tmp_path / "api_keys_file"
    assert "swordfish" not in repr(settings)


def test_unknown_settings_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A typing error is told with the setting that was meant, wherever it was made."""
    with pytest.raises(ValidationError, match=r"prot is no setting; did you mean port\?"):
        Settings(prot=9000)  # type: ignore[call-arg]
    file = tmp_path / "s.toml"
    file.write_text("[tls]\ncertificat = 'x'\n")
    with pytest.raises(ValueError, match=r"s\.toml: tls_certificat is .* mean tls_certificate\?"):
        Settings(config=file)
    monkeypatch.setenv("HDSYNTH_PROT", "9000")
    with pytest.raises(ValueError, match=r"HDSYNTH_PROT is no .* mean HDSYNTH_PORT\?"):
        Settings()


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("s.toml", "port = ", "s.toml: "),
        ("s.yaml", "- port\n", "s.yaml: holds no settings"),
        ("s.yml", "a: b: c", "s.yml: "),
        ("s.ini", "port=1", "s.ini: settings come as .toml or .yaml"),
        ("s.toml", "config = 's.toml'", "cannot name another"),
        ("s.toml", "port = 99999", "port"),
    ],
)
def test_files_that_hold_no_settings(tmp_path: Path, name: str, text: str, fault: str) -> None:
    """A file that cannot be read as settings is named."""
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=fault):
        Settings(config=tmp_path / name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("metrics_port", "none"),
        ("threads", "-1"),
        ("buckets", "512"),
        ("buckets", "0x256"),
        ("buckets", ""),
        ("log_level", "loud"),
        ("tls_certificate", "/no/such/file"),
    ],
)
def test_wrong_values_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value out of range is told with the setting and the value."""
    monkeypatch.setenv(f"HDSYNTH_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_half_a_tls_configuration_is_refused(tmp_path: Path) -> None:
    """A certificate without a key, or clients' authorities without TLS, would protect nothing."""
    file = tmp_path / "any.pem"
    file.touch()
    with pytest.raises(ValidationError, match="tls_certificate needs tls_key"):
        Settings(tls_certificate=file)
    with pytest.raises(ValidationError, match="tls_client_ca needs tls_certificate"):
        Settings(tls_client_ca=file)
