"""Why a request was not served: one taxonomy for every face of the server.

    Exception
    ├── ValueError
    │   ├── MapError       model.errors    a map or a style cannot be used
    │   └── BundleError    model.bundle    a model cannot be loaded; ends the start-up
    └── ServiceError       here            a request cannot be served; what the faces translate

The synthesis core raises MapError, which becomes a ServiceError with the same reason where it is
known which field of the request is at fault. REASONS is the complete list of reasons: programs
may rely on their spelling. Every face has a column with its own status code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Reason:
    """How one kind of failure is told."""

    http: int
    """HTTP status."""
    grpc: str
    """Name of the gRPC status code."""
    title: str
    """What happened, the same words every time."""
    retryable: bool = False
    """Whether the same request may succeed a moment later."""


REASONS: dict[str, Reason] = {
    # The request as a whole.
    "NOT_MULTIPART": Reason(415, "INVALID_ARGUMENT", "The request is no multipart form"),
    "INVALID_MULTIPART": Reason(400, "INVALID_ARGUMENT", "The multipart form cannot be read"),
    "INVALID_MESSAGE": Reason(400, "INVALID_ARGUMENT", "The message cannot be read"),
    "UPLOAD_TOO_LARGE": Reason(413, "INVALID_ARGUMENT", "The upload is too large"),
    "UPLOAD_TOO_SLOW": Reason(408, "DEADLINE_EXCEEDED", "The upload took too long"),
    "NOT_ACCEPTABLE": Reason(406, "INVALID_ARGUMENT", "No format of the photograph is acceptable"),
    # Who asks.
    "UNAUTHENTICATED": Reason(401, "UNAUTHENTICATED", "The request carries no valid API key"),
    "PERMISSION_DENIED": Reason(403, "PERMISSION_DENIED", "The API key does not allow this"),
    "RATE_LIMITED": Reason(
        429, "RESOURCE_EXHAUSTED", "The API key asks too much at once", retryable=True
    ),
    # Its fields.
    "MISSING_FIELD": Reason(422, "INVALID_ARGUMENT", "A field is missing"),
    "INVALID_FIELD": Reason(422, "INVALID_ARGUMENT", "A field is wrong"),
    "INVALID_OPTIONS": Reason(422, "INVALID_ARGUMENT", "The options are wrong"),
    # A map as a file.
    "EMPTY_UPLOAD": Reason(422, "INVALID_ARGUMENT", "A map holds no bytes"),
    "UNSUPPORTED_FORMAT": Reason(
        422, "INVALID_ARGUMENT", "A map has a file format that holds no ids"
    ),
    "INVALID_IMAGE": Reason(422, "INVALID_ARGUMENT", "A map is damaged or incomplete"),
    "MULTIPLE_FRAMES": Reason(422, "INVALID_ARGUMENT", "A map has several frames"),
    "COLOUR_MAP": Reason(422, "INVALID_ARGUMENT", "A map holds colours instead of ids"),
    "IMAGE_TOO_LARGE": Reason(413, "INVALID_ARGUMENT", "A map has too many pixels"),
    # The scene that the maps show.
    "LABEL_OUT_OF_RANGE": Reason(
        422, "INVALID_ARGUMENT", "The label map has a class that the model does not know"
    ),
    "INSTANCE_OUT_OF_RANGE": Reason(
        422, "INVALID_ARGUMENT", "The instance map has an id that is too large"
    ),
    "SIZE_NOT_SERVED": Reason(
        422, "INVALID_ARGUMENT", "The engine was not built for maps of this size"
    ),
    "SIZE_MISMATCH": Reason(422, "INVALID_ARGUMENT", "The maps differ in size"),
    "STYLE_NOT_FOUND": Reason(422, "INVALID_ARGUMENT", "There is no such style"),
    "STYLE_INVALID": Reason(422, "INVALID_ARGUMENT", "A style code is wrong"),
    "NO_ENCODER": Reason(422, "FAILED_PRECONDITION", "The model takes no styles from photographs"),
    "CLASS_NOT_FOUND": Reason(422, "INVALID_ARGUMENT", "There is no such class"),
    # The photograph.
    "NO_JUDGE": Reason(422, "FAILED_PRECONDITION", "The server judges no photographs of the model"),
    "UNFAITHFUL": Reason(
        422, "FAILED_PRECONDITION", "The photograph does not show its layout well enough"
    ),
    # The address.
    "NOT_FOUND": Reason(404, "NOT_FOUND", "There is nothing here"),
    "METHOD_NOT_ALLOWED": Reason(405, "UNIMPLEMENTED", "The method is not allowed here"),
    "NO_SAMPLES": Reason(404, "NOT_FOUND", "There are no sample scenes for this model"),
    "LOAD_FAILED": Reason(422, "FAILED_PRECONDITION", "The model could not be loaded"),
    "MODEL_NOT_FOUND": Reason(404, "NOT_FOUND", "There is no such model"),
    # The queue.
    "QUEUE_FULL": Reason(429, "RESOURCE_EXHAUSTED", "Too much work is waiting", retryable=True),
    "DEADLINE_UNREACHABLE": Reason(
        429, "RESOURCE_EXHAUSTED", "The deadline would pass before the work begins", retryable=True
    ),
    "DEADLINE_EXCEEDED": Reason(504, "DEADLINE_EXCEEDED", "The deadline has passed"),
    "CANCELLED": Reason(499, "CANCELLED", "The caller left"),
    # The server.
    "MODEL_LOADING": Reason(503, "UNAVAILABLE", "The model is being loaded", retryable=True),
    "DRAINING": Reason(503, "UNAVAILABLE", "The server is about to stop", retryable=True),
    "ENGINE_LOST": Reason(503, "UNAVAILABLE", "The engine ended unexpectedly", retryable=True),
    "INTERNAL": Reason(500, "INTERNAL", "The server failed"),
}


@dataclass(frozen=True)
class FieldError:
    """One fault in one place of the request."""

    pointer: str
    """JSON pointer of the field as a URI fragment (RFC 6901): ``#/options/seed``."""
    detail: str

    @classmethod
    def at(cls, path: Sequence[str | int], detail: str) -> FieldError:
        """Point at a field given as the keys that lead to it."""
        keys = [quote(str(key).replace("~", "~0").replace("/", "~1"), safe="~") for key in path]
        return cls("/".join(["#", *keys]), detail)


class ServiceError(Exception):
    """A request cannot be served; the message names the field, the value and the fix."""

    def __init__(
        self,
        reason: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``headers`` are told beside the error, over gRPC as trailing metadata."""
        super().__init__(detail)
        self.headers = headers or {}
        self.reason, self.detail, self.errors = reason, detail, tuple(errors)
        self.row = REASONS[reason]
        # Whoever is told to come back is told when, even where nobody can predict it.
        self.retry_after_s = 1.0 if self.row.retryable and not retry_after_s else retry_after_s

    @classmethod
    def at(cls, path: Sequence[str | int], reason: str, detail: str) -> ServiceError:
        """Make the error of a single field, given as the keys that lead to it."""
        return cls(reason, detail, [FieldError.at(path, detail)])
