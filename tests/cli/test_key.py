from pathlib import Path

from click.testing import CliRunner

from cli.key import key
from service.auth import Authenticator


def test_new_key_opens_the_server(tmp_path: Path) -> None:
    """The printed line, kept in a file, lets the printed key in, and does not hold it."""
    result = CliRunner().invoke(key, ["alice"])
    secret = result.stderr.split()[-1]
    assert secret not in result.stdout
    file = tmp_path / "keys"
    file.write_text(result.stdout)
    assert Authenticator(file).identify(None, secret) == "alice"


def test_every_key_is_new() -> None:
    """Two keys of one name differ."""
    first, second = (CliRunner().invoke(key, ["alice"]).stdout for _ in range(2))
    assert first != second


def test_names_that_would_break_the_file_are_refused() -> None:
    """A name with a colon or a space cannot be told from the hash."""
    for name in ("a:b", "a b", "", "é"):
        result = CliRunner().invoke(key, [name])
        assert result.exit_code == 2
        assert "is no name for a key" in result.stderr
