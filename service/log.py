"""The log: one line per record, for people or for machines, each with its request's id."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

_request_id: ContextVar[str] = ContextVar("request_id", default="")

# What every record has; anything else was given with the message as `extra`.
_STANDARD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName", "color_message"}


@contextmanager
def request_scope(request_id: str) -> Iterator[None]:
    """Give every line that is logged inside, by this task and those it starts, the id."""
    token = _request_id.set(request_id)
    try:
        yield
    finally:
        _request_id.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object per record: time, level, logger, message, request_id, and its extras."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; exceptions become a text in one of the fields."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := _request_id.get():
            entry["request_id"] = request_id
        entry |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """The same for people: time, level, message, request id."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, logging's name
        """Render everything but the traceback."""
        line = super().formatMessage(record)
        request_id = _request_id.get()
        return f"{line} {request_id}" if request_id else line


def set_up_logging(form: Literal["auto", "text", "json"], level: str) -> None:
    """Send everything to stderr; ``auto`` is text on a terminal and JSON elsewhere."""
    if form == "auto":
        form = "text" if sys.stderr.isatty() else "json"
    formatter = {"json": JsonFormatter, "text": TextFormatter}[form]
    quiet = "ERROR" if level == "error" else "WARNING"
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"()": formatter}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            # Other people's packages, the web server among them.
            "root": {"level": quiet, "handlers": ["stderr"]},
            "loggers": {
                "service": {"level": level.upper()},
                # Would print a line for every broken form, which its sender is told anyway.
                "python_multipart": {"level": "ERROR"},
            },
        }
    )
