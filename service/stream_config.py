"""What a client says about its whole stream."""

from __future__ import annotations

from dataclasses import dataclass

from hdsynth.v1 import synthesis_pb2 as pb

from model.classes import Classes
from model.styles import StyleChoice
from service.errors import ServiceError
from service.grpc_messages import image_format, quality_of, style_choice
from service.jobs import OutputFormat

MAX_UNACKNOWLEDGED = 2
WINDOW = 4
"""Frames of an ordered stream that may wait for their result at once."""


@dataclass(frozen=True)
class StreamSettings:
    """A checked StreamConfig."""

    format: OutputFormat
    quality: int | None
    is_ordered: bool
    max_unacknowledged: int
    max_age_s: float
    """0 = never too old."""
    choice: StyleChoice
    steady: bool

    @classmethod
    def of(cls, config: pb.StreamConfig, classes: Classes) -> StreamSettings:
        """Read a config. Raises ServiceError INVALID_FIELD or CLASS_NOT_FOUND."""
        if config.delivery not in pb.Delivery.values():
            raise _invalid("delivery", f"is {config.delivery}, which this server does not know")
        if config.max_unacknowledged > MAX_UNACKNOWLEDGED:
            words = f"is 1 or {MAX_UNACKNOWLEDGED}, or 0 for the most, not "
            raise _invalid("max_unacknowledged", f"{words}{config.max_unacknowledged}")
        return cls(
            image_format(config.format, default="jpeg"),
            quality_of(config.quality),
            config.delivery == pb.DELIVERY_ORDERED,
            config.max_unacknowledged or MAX_UNACKNOWLEDGED,
            config.max_age_ms / 1000,
            style_choice(config.styles, classes),
            config.steady,
        )


def _invalid(name: str, detail: str) -> ServiceError:
    return ServiceError.at([name], "INVALID_FIELD", f"{name}: {detail}")
