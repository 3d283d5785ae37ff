"""What a caller says about a whole stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hdsynth_client._wire import synthesis_pb2 as pb
from hdsynth_client.rpc import styles_message
from hdsynth_client.types import Format, Styles


@dataclass(frozen=True)
class StreamConfig:
    """What holds for a whole stream."""

    model: str = ""
    """Empty = the server's default."""
    format: Format = "jpeg"
    quality: int | None = None
    """1..100 for JPEG and WebP; None = the format's default."""
    delivery: Literal["latest", "ordered"] = "latest"
    """latest: a newer frame replaces one that waits; ordered: all frames come back."""
    max_unacknowledged: int = 0
    """Results on their way at once; 0 = 2, the most there is."""
    max_age_ms: int = 0
    """Frames older than this are dropped; 0 = never."""
    styles: Styles = field(default_factory=Styles)
    steady: bool = False
    """Less flicker, at the cost of some sharpness."""

    @property
    def message(self) -> pb.StreamConfig:
        """The same as it travels."""
        ordered = self.delivery == "ordered"
        return pb.StreamConfig(
            model=self.model,
            format=f"IMAGE_FORMAT_{self.format.upper()}",
            quality=self.quality or 0,
            delivery=pb.DELIVERY_ORDERED if ordered else pb.DELIVERY_LATEST_ONLY,
            max_unacknowledged=self.max_unacknowledged,
            max_age_ms=self.max_age_ms,
            styles=styles_message(self.styles),
            steady=self.steady,
        )
