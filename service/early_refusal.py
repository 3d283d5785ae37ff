"""Refusals before an upload is read: under overload that is what keeps the server answering.

Reading a form costs several times as much as refusing it. Without this a server that is asked for
many times what its engine can do would spend its processors on forms that it refuses afterwards,
and lack them for the photographs that it has promised.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ServiceError
from service.problem import problem_response
from service.served import Models

_SYNTHESIS = re.compile(
    r"/(?:v1/)?synthesize|/v1/models/(?P<model>[^/:]+)(?:/versions/[^/:]+)?:synthesize"
)


class EarlyRefusal:
    """Answers requests for photographs while a model has no room for more."""

    def __init__(self, app: ASGIApp, models: Models) -> None:
        self._app, self._models = app, models

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection as ASGI defines it."""
        if scope["type"] == "http" and scope["method"] == "POST":
            found = _SYNTHESIS.fullmatch(scope["path"])
            error = self._refusal(scope, found["model"] or "") if found else None
            if error is not None:
                await problem_response(scope, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, name: str) -> ServiceError | None:
        try:
            model = self._models.get(name)
        except ServiceError:
            return None  # the route says so, and checks the rest of the address
        try:
            model.pipeline.require_room()
        except ServiceError as error:
            scope["state"]["model"] = model.description.name  # for the metrics and the log
            return error
        return None
