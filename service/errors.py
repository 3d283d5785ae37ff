"""Why a request was not served: one taxonomy for every face of the server.

    Exception
    ├── ValueError
    │   ├── MapError       model.errors    a map or a style cannot be used
    │   └── BundleError    model.bundle    a model cannot be loaded; ends the start-up
    └── ServiceError       here            a request cannot be served; what the faces translate

The synthesis core raises MapError, which becomes a ServiceError with the same reason where it is
known which field of the request is at fault. REASONS is the complete list of reasons: programs
may rely on their spelling. Each face adds a column with its own status code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Reason:
    """How one kind of failure is told."""

    http: int
    """HTTP status."""
    title: str
    """What happened, the same words every time."""


REASONS: dict[str, Reason] = {
    # The request as a whole.
    "NOT_MULTIPART": Reason(415, "The request is no multipart form"),
    "INVALID_MULTIPART": Reason(400, "The multipart form cannot be read"),
    "UPLOAD_TOO_LARGE": Reason(413, "The upload is too large"),
    "NOT_ACCEPTABLE": Reason(406, "No format of the photograph is acceptable"),
    # Its fields.
    "MISSING_FIELD": Reason(422, "A field is missing"),
    "INVALID_FIELD": Reason(422, "A field is wrong"),
    "INVALID_OPTIONS": Reason(422, "The options are wrong"),
    # A map as a file.
    "EMPTY_UPLOAD": Reason(422, "A map holds no bytes"),
    "UNSUPPORTED_FORMAT": Reason(422, "A map has a file format that holds no ids"),
    "INVALID_IMAGE": Reason(422, "A map is damaged or incomplete"),
    "MULTIPLE_FRAMES": Reason(422, "A map has several frames"),
    "COLOUR_MAP": Reason(422, "A map holds colours instead of ids"),
    "IMAGE_TOO_LARGE": Reason(413, "A map has too many pixels"),
    # The scene that the maps show.
    "LABEL_OUT_OF_RANGE": Reason(422, "The label map has a class that the model does not know"),
    "INSTANCE_OUT_OF_RANGE": Reason(422, "The instance map has an id that is too large"),
    "SIZE_MISMATCH": Reason(422, "The maps differ in size"),
    "STYLE_NOT_FOUND": Reason(422, "There is no such style"),
    "STYLE_INVALID": Reason(422, "A style code is wrong"),
    "CLASS_NOT_FOUND": Reason(422, "There is no such class"),
    # The address.
    "NOT_FOUND": Reason(404, "There is nothing here"),
    "METHOD_NOT_ALLOWED": Reason(405, "The method is not allowed here"),
    "NO_SAMPLES": Reason(404, "There are no sample scenes for this model"),
    # The server.
    "MODEL_LOADING": Reason(503, "The model is being loaded"),
    "INTERNAL": Reason(500, "The server failed"),
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

    def __init__(self, reason: str, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.errors = reason, detail, tuple(errors)
        self.row = REASONS[reason]

    @classmethod
    def at(cls, path: Sequence[str | int], reason: str, detail: str) -> ServiceError:
        """Make the error of a single field, given as the keys that lead to it."""
        return cls(reason, detail, [FieldError.at(path, detail)])
