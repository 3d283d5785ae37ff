import ast
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

import model
import service
from service import decode
from service.errors import REASONS, FieldError, ServiceError

MODEL, SERVICE = Path(model.__file__).parent, Path(service.__file__).parent
RAISERS = {"MapError": 0, "ServiceError": 0, "at": 1}
"""Calls that make an error, and which of their arguments is the reason."""


def reasons_in(path: Path) -> Iterator[str]:
    """Yield every reason that a source file gives to an error; fail on one that is computed."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", None))
        owner = getattr(getattr(node.func, "value", None), "id", None)
        if name not in RAISERS or (name == "at" and owner != "ServiceError"):
            continue
        reason = node.args[RAISERS[name]]
        if isinstance(reason, ast.Constant):
            yield str(reason.value)
        else:  # two places translate the reason of another error
            assert path.parent == SERVICE, f"{path}:{node.lineno}: a reason must be a literal"


def test_every_reason_of_the_sources_is_in_the_table() -> None:
    """No map that the core refuses can turn into a status that nobody chose."""
    found = {
        reason
        for folder in (MODEL, SERVICE)
        for path in folder.rglob("*.py")
        for reason in reasons_in(path)
    }
    assert len(found) > 15
    assert found <= REASONS.keys()


def test_every_reason_about_a_scene_blames_a_field() -> None:
    """What is wrong with decoded maps points at the field that has to change."""
    about_scenes = {r for name in ("codec", "styles") for r in reasons_in(MODEL / f"{name}.py")}
    assert about_scenes == decode._FIELDS.keys()


def test_client_errors_are_4xx() -> None:
    """Only the server's own state is answered with 5xx."""
    servers_fault = {reason for reason, row in REASONS.items() if row.http >= 500}
    assert servers_fault == {
        *("MODEL_LOADING", "DRAINING", "ENGINE_LOST", "DEADLINE_EXCEEDED", "INTERNAL"),
    }
    assert all(400 <= row.http < 600 for row in REASONS.values())


def test_every_grpc_code_exists() -> None:
    """The table's code names are those of gRPC, and refusals of one kind agree in both columns."""
    assert {row.grpc for row in REASONS.values()} <= grpc.StatusCode.__members__.keys()
    for row in REASONS.values():
        assert row.retryable == (row.http in {429, 503})
        assert (row.grpc == "UNAVAILABLE") == (row.http == 503)


def test_who_is_told_to_come_back_is_told_when() -> None:
    """Every retryable error carries a time, predicted or not."""
    assert ServiceError("QUEUE_FULL", "detail", retry_after_s=2.5).retry_after_s == 2.5
    assert ServiceError("ENGINE_LOST", "detail").retry_after_s == 1.0
    assert ServiceError("INTERNAL", "detail").retry_after_s is None


def test_unknown_reason_is_refused() -> None:
    """A reason outside the table cannot be raised at all."""
    with pytest.raises(KeyError):
        ServiceError("NO_SUCH_REASON", "detail")


def test_pointer_escapes_what_json_pointers_and_uris_reserve() -> None:
    """Keys with slashes, tildes and spaces stay one step of the pointer."""
    error = FieldError.at(["options", "styles", "a/b~c d"], "detail")
    assert error.pointer == "#/options/styles/a~1b~0c%20d"
