"""A frame on its way through a stream, and the reasons for which it can be dropped."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from hdsynth.v1 import synthesis_pb2 as pb

from model.styles import StyleChoice
from service.errors import ServiceError
from service.pipeline import StageTimes

SUPERSEDED, EXPIRED = pb.DROP_REASON_SUPERSEDED, pb.DROP_REASON_EXPIRED
OVERLOADED, INVALID = pb.DROP_REASON_OVERLOADED, pb.DROP_REASON_INVALID
OUTCOMES = {
    SUPERSEDED: "superseded", EXPIRED: "expired", OVERLOADED: "overloaded", INVALID: "invalid",
}  # fmt: skip
_REASONS = {
    "DEADLINE_EXCEEDED": EXPIRED,
    "QUEUE_FULL": OVERLOADED,
    "DEADLINE_UNREACHABLE": OVERLOADED,
    "DRAINING": OVERLOADED,
    "ENGINE_LOST": OVERLOADED,
}
"""Why a frame is dropped, by the reason of the error; anything else makes it invalid."""


def reason_of(error: ServiceError) -> pb.DropReason:
    """Return why a frame is dropped that met an error."""
    return _REASONS.get(error.reason, INVALID)


@dataclass(eq=False)
class Arrival:
    """A frame that came, on its way to its result."""

    number: int
    """Counts the stream's frames."""
    message: pb.Frame
    since: float
    """When it arrived, ``time.monotonic()``."""
    deadline: float | None
    choice: StyleChoice
    missed: int | None = None
    """A frame right before it that was not taken in, so that its changes are lost."""
    new_styles: list[pb.InstanceStyle] = field(default_factory=list)
    times: StageTimes = field(default_factory=dict)
    begins_scene: bool = False
    """Whether it shows another scene than the frame before it that was kept."""
    has_started: bool = False
    """Whether the engine has it, so that no newer one can take its place in the queue."""

    @property
    def is_late(self) -> bool:
        """Whether it is older than it may be."""
        return self.deadline is not None and monotonic() > self.deadline
