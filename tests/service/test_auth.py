import logging
from pathlib import Path

import pytest

from service.auth import Authenticator, new_key
from service.errors import ServiceError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An empty file of keys."""
    file = tmp_path / "keys"
    file.touch()
    return file


def rewrite(file: Path, text: str) -> None:
    """Replace a file as editors and Kubernetes do, so that even in one instant it is another."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def test_without_a_file_everybody_is_welcome() -> None:
    """No key is needed, and a key that is sent means nothing."""
    authenticator = Authenticator(None)
    assert not authenticator.required
    assert authenticator.identify(None, None) == ""
    assert authenticator.identify("Bearer x", None) == ""


def test_each_key_has_its_name(file: Path) -> None:
    """Both headers are understood; comments and blank lines are passed over."""
    (alice, line_a), (bob, line_b) = new_key("alice"), new_key("bob")
    file.write_text(f"# staff\n\n{line_a}  # since spring\n{line_b}\n")
    authenticator = Authenticator(file)
    assert authenticator.required
    assert authenticator.identify(f"Bearer {alice}", None) == "alice"
    assert authenticator.identify(f"bearer  {bob}", None) == "bob"
    assert authenticator.identify(None, bob) == "bob"


def test_a_name_may_have_two_keys(file: Path) -> None:
    """An old and a new key work side by side while clients change over."""
    (old, line_old), (new, line_new) = new_key("alice"), new_key("alice")
    file.write_text(f"{line_old}\n{line_new}\n")
    authenticator = Authenticator(file)
    assert {authenticator.identify(None, key) for key in (old, new)} == {"alice"}


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer hdsynth_wrong", "\udcff"]
)
def test_anyone_else_is_refused(file: Path, authorization: str | None) -> None:
    """A missing, malformed or unknown key is refused, with how to send one and without the key."""
    file.write_text(new_key("alice")[1])
    with pytest.raises(ServiceError) as caught:
        Authenticator(file).identify(authorization, None)
    assert caught.value.reason == "UNAUTHENTICATED"
    assert "Authorization: Bearer KEY" in caught.value.detail
    assert "wrong" not in caught.value.detail


def test_hash_is_no_key(file: Path) -> None:
    """What the file holds does not open the server."""
    line = new_key("alice")[1]
    file.write_text(line)
    with pytest.raises(ServiceError):
        Authenticator(file).identify(None, line.partition(":")[2])


def test_changed_file_counts_at_once(file: Path) -> None:
    """A new key is known, and a removed one refused, without a restart."""
    (alice, line_a), (bob, line_b) = new_key("alice"), new_key("bob")
    file.write_text(line_a)
    authenticator = Authenticator(file)
    authenticator.identify(None, alice)
    rewrite(file, line_b)
    assert authenticator.identify(None, bob) == "bob"
    with pytest.raises(ServiceError):
        authenticator.identify(None, alice)


def test_broken_file_keeps_the_old_keys(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake while editing locks nobody out; the log tells it, once."""
    alice, line = new_key("alice")
    file.write_text(line)
    authenticator = Authenticator(file)
    rewrite(file, f"{line}\nalice {alice}\n")
    with caplog.at_level(logging.ERROR):
        assert {authenticator.identify(None, alice) for _ in range(3)} == {"alice"}
    assert caplog.text.count("keys:2: is not name:sha256") == 1
    assert alice not in caplog.text
    file.unlink()
    assert authenticator.identify(None, alice) == "alice"


def test_unusable_file_is_told_at_the_start(file: Path) -> None:
    """A server never starts with a file of keys that it cannot read."""
    file.write_text("alice:1234\n")
    with pytest.raises(ValueError, match="keys:1: is not name:sha256"):
        Authenticator(file)
    with pytest.raises(ValueError, match="cannot be read"):
        Authenticator(file.with_name("none"))
