import json
import logging
import subprocess
import sys

import httpx
import pytest

from service.log import JsonFormatter, TextFormatter, request_scope
from tests.service.conftest import Server


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    """Make a record as a logger would."""
    logger = logging.getLogger("service.test")
    return logger.makeRecord(
        *("service.test", logging.INFO, "file.py", 1, message, arguments, None), extra=extra or None
    )


def test_json_line_has_what_a_search_needs() -> None:
    """Time with its zone, level, message, the request's id, and what was given as extra."""
    with request_scope("7f3a"):
        line = JsonFormatter().format(record('%d "photographs"\n', 3, status=200))
    entry = json.loads(line)
    assert line.count("\n") == 0
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "info", "logger": "service.test", "message": '3 "photographs"\n',
        "request_id": "7f3a", "status": 200,
    }  # fmt: skip


def test_request_id_ends_with_its_request() -> None:
    """Outside of a request a line has no id."""
    with request_scope("7f3a"):
        pass
    assert "request_id" not in json.loads(JsonFormatter().format(record("idle")))
    assert TextFormatter().format(record("idle")).endswith("INFO idle")


def test_exceptions_stay_in_their_line() -> None:
    """A traceback is a field of the record, not twenty more lines."""
    failed = record("failed")
    with pytest.raises(ValueError, match="lost") as caught:
        int("lost")
    failed.exc_info = (caught.type, caught.value, caught.tb)
    line = JsonFormatter().format(failed)
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("'lost'")


def test_text_is_for_people() -> None:
    """Time, level, message and request id in one plain line."""
    with request_scope("7f3a"):
        line = TextFormatter().format(record("GET / %d", 200, status=200))
    assert line.endswith(" INFO GET / 200 7f3a")


LOGGING_PROGRAM = """
import logging, sys
from service.log import set_up_logging
set_up_logging(*sys.argv[1:])
logging.getLogger("service.app").info("ours")
logging.getLogger("uvicorn.error").info("chatter")
logging.getLogger("uvicorn.error").warning("theirs")
"""


@pytest.mark.parametrize(
    ("form", "level", "lines"), [("auto", "info", 2), ("json", "warning", 1), ("text", "error", 0)]
)
def test_level_and_form(form: str, level: str, lines: int) -> None:
    """The level counts for our lines and the web server's; no terminal means JSON."""
    command = [sys.executable, "-c", LOGGING_PROGRAM, form, level]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    written = done.stderr.splitlines()
    assert len(written) == lines
    if form != "text":
        assert all(json.loads(line)["message"] in {"ours", "theirs"} for line in written)


def test_every_line_of_a_server_is_json(server: Server, client: httpx.Client) -> None:
    """A request's line tells how it went; queries and headers, where secrets travel, stay out."""
    response = client.get("/v1/models?token=swordfish", headers={"X-API-Key": "swordfish"})
    entry = server.record(response.headers["x-request-id"])
    text = server.log.read_text()
    assert "swordfish" not in text
    assert all(json.loads(line)["message"] for line in text.splitlines())
    found = [entry[key] for key in ("level", "method", "path", "status", "reason", "api")]
    assert found == ["info", "GET", "/v1/models", 200, "OK", "rest.models"]
    assert entry["duration_ms"] > 0
