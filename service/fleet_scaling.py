"""The autoscaler of Kubernetes, as the chart sets it up: from waits to a number of servers.

The rule is that of the HorizontalPodAutoscaler (autoscaling/v2), which KEDA drives too: the number
at which the metric's average would meet its target; no change within 10 % of it; the largest wish
of the stabilisation window before anything is taken away; and at most so much change in a period.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

TOLERANCE = 0.1
"""Part of the target by which the metric may be off before the autoscaler acts."""
SYNC_S = 15.0
"""Seconds between two looks of the autoscaler, and between two scrapes of Prometheus."""

Kind = Literal["off", "hpa", "keda"]


@dataclass(frozen=True)
class Scaling:
    """What the autoscaler is told."""

    kind: Kind = "hpa"
    min_replicas: int = 1
    max_replicas: int = 8
    target_wait_s: float = 1.0
    """Predicted wait, averaged over the servers, that is aimed at."""
    down_window_s: float = 300.0
    """Seconds of which the largest wish counts before servers are taken away."""
    target_busy: float = 0.6
    """Part of the time in which engines may be busy, a second metric; 0 = not looked at."""
    down_part: float = 0.1
    """Part of the servers that may be taken away in a minute; always one."""

    @property
    def up_period_s(self) -> float:
        """Seconds in which the number may double (or rise by four, with KEDA's defaults)."""
        return 15.0 if self.kind == "keda" else 30.0

    def most_after(self, count: int) -> int:
        """Return the largest number that may follow ``count`` within ``up_period_s``."""
        return max(2 * count, count + 4) if self.kind == "keda" else 2 * count


DOWN_PERIOD_S = 60.0
"""Seconds in which one server, or ``down_part`` of them, is taken away at most."""


@dataclass(frozen=True)
class ChartValues:
    """The values of the chart that decide how a fleet behaves."""

    scaling: Scaling
    replicas: int
    """Without an autoscaler."""
    max_batch: int
    max_wait_s: float


def read_values(path: Path, kind: Kind | None = None) -> ChartValues:
    """Read a values file of the chart; ``kind`` stands in for ``autoscaling.type``.

    Raises ValueError naming the value that is missing or wrong.
    """
    values: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        scaling, server = values["autoscaling"], values["server"]
        chosen = kind or str(scaling["type"])
        if chosen not in {"off", "hpa", "keda"}:
            raise ValueError(f"autoscaling.type {chosen!r} is none of off, hpa, keda")  # noqa: TRY301
        return ChartValues(
            Scaling(
                kind=chosen,  # type: ignore[arg-type]
                min_replicas=int(scaling["minReplicas"]),
                max_replicas=int(scaling["maxReplicas"]),
                target_wait_s=float(scaling["targetWaitSeconds"]),
                down_window_s=float(scaling["scaleDownSeconds"]),
                target_busy=float(scaling["targetBusy"]),
            ),
            replicas=int(values["replicas"]),
            max_batch=int(server["maxBatch"]),
            max_wait_s=float(server["maxWaitSeconds"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        words = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: {words}; it should be the chart's values.yaml") from error


class Autoscaler:
    """Decides how many servers there should be."""

    def __init__(self, scaling: Scaling) -> None:
        # HPA cannot stop the last one.
        least = max(1, scaling.min_replicas) if scaling.kind == "hpa" else scaling.min_replicas
        self.scaling = replace(scaling, min_replicas=least)
        self._wishes: deque[tuple[float, int]] = deque()
        self._changes: deque[tuple[float, int]] = deque()

    def decide(self, now: float, count: int, waits: NDArray[np.float64], busy: float) -> int:
        """Return the number of servers wished for.

        ``count`` is how many there are, those included that still start; ``waits`` (N,) are the
        predicted waits of those that serve, in seconds, and ``busy`` the mean part of the time
        in which their engines ran.
        """
        wish = self._wish(count, waits, busy)
        self._wishes.append((now, wish))
        while self._wishes[0][0] < now - self.scaling.down_window_s:
            self._wishes.popleft()
        if wish < count:
            wish = min(count, max(earlier for _, earlier in self._wishes))
        decided = self._slowed(now, count, wish)
        if decided != count:
            self._changes.append((now, decided - count))
        return decided

    def _wish(self, count: int, waits: NDArray[np.float64], busy: float) -> int:
        scaling = self.scaling
        wish = _proportional(count, len(waits), float(waits.sum()), scaling.target_wait_s)
        if scaling.target_busy:
            total = busy * len(waits)
            wish = max(wish, _proportional(count, len(waits), total, scaling.target_busy))
        return min(max(wish, scaling.min_replicas), scaling.max_replicas)

    def _slowed(self, now: float, count: int, wish: int) -> int:
        scaling = self.scaling
        while self._changes and self._changes[0][0] <= now - max(
            DOWN_PERIOD_S, scaling.up_period_s
        ):
            self._changes.popleft()
        if wish > count:
            recent = (c for at, c in self._changes if c > 0 and at > now - scaling.up_period_s)
            return min(wish, max(count, scaling.most_after(max(1, count - sum(recent)))))
        removed = sum(-c for at, c in self._changes if c < 0 and at > now - DOWN_PERIOD_S)
        most = max(1, int(scaling.down_part * (count + removed)))
        return max(wish, count - max(0, most - removed)) if wish < count else wish


def _proportional(count: int, serving: int, total: float, target: float) -> int:
    """Return the number at which the average would be the target: those that start count as 0."""
    if serving == 0 or abs(total / serving / target - 1) <= TOLERANCE:
        return count
    wish = math.ceil(total / target - 1e-9)
    # Whose start is awaited must not be started again, nor taken away for it.
    return wish if total / serving < target else max(count, wish)
