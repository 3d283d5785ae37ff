import os
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import cli
from service.settings import Settings


def serve(*arguments: str, **environment: str) -> Result:
    """Run ``hdsynth serve`` with nothing but these settings."""
    hidden: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith("HDSYNTH_")
    }
    return CliRunner().invoke(cli, ["serve", *arguments], env={**hidden, **environment})


def test_print_config_tells_values_and_where_they_come_from(tmp_path: Path) -> None:
    """The strongest source of each setting is named."""
    file = tmp_path / "server.yaml"
    file.write_text("threads: 3\nport: 1\n")
    result = serve("--print-config", "--config", str(file), "--port=2", HDSYNTH_MAX_BATCH="4")
    lines = result.stdout.splitlines()
    assert "port = 2  # --port" in lines
    assert "max_batch = 4  # HDSYNTH_MAX_BATCH" in lines
    assert f"threads = 3  # {file}" in lines
    assert 'host = "127.0.0.1"  # default' in lines
    assert len(lines) == len(Settings.model_fields)


def test_printed_config_is_a_config(tmp_path: Path) -> None:
    """What is printed can be kept as a file, and gives the same settings again."""
    file = tmp_path / "server.toml"
    first = serve("--print-config", "--buckets=64x64,128x64", "--grpc-port=off", "--model=a,b=c")
    file.write_text(first.stdout)
    again = serve("--print-config", "--config", str(file))
    values = tomllib.loads(again.stdout)
    assert values == tomllib.loads(first.stdout)
    assert (values["buckets"], values["grpc_port"]) == (["64x64", "128x64"], "off")
    assert values["model"] == ["a", "b=c"]


def test_printed_config_hides_secrets(tmp_path: Path) -> None:
    """Passwords and signatures are left out, in URLs too."""
    (tmp_path / "tls_key_password").write_text("swordfish")
    result = serve(
        "--print-config",
        *("--secrets-dir", str(tmp_path)),
        *("--model", "https://user:swordfish@example.org/m.tar?signature=swordfish"),
        *("--tracing-endpoint", "https://:swordfish@collector:4317"),
    )
    assert result.exit_code == 0
    assert "swordfish" not in result.stdout
    assert "https://...@example.org/m.tar?..." in result.stdout
    assert f"tls_key_password is set, and secret  # {tmp_path}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--bucket=64x64"], {}, "--buckets"),
        (["--port=http"], {}, "--port: Input should be a valid integer"),
        (["--buckets=64"], {}, "--buckets: '64' is no size"),
        ([], {"HDSYNTH_PRT": "1"}, "HDSYNTH_PRT is no setting; did you mean HDSYNTH_PORT?"),
        ([], {"HDSYNTH_PORT": "1.5"}, "Error: port: Input should be a valid integer"),
    ],
)
def test_wrong_use_is_told(arguments: list[str], environment: dict[str, str], words: str) -> None:
    """A wrong option or variable ends the command with what was meant."""
    result = serve(*arguments, **environment)
    assert result.exit_code == 2
    assert words in result.stderr
