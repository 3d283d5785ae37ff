"""Every metric of the server, by the names that dashboards and alerts rely on.

Base units throughout: seconds, bytes, images. Labels are bounded: buckets come from the
settings, models from the configuration, never from what a client sends.
"""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

REGISTRY = CollectorRegistry()

_SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip

REQUESTS = Counter(
    "hdsynth_requests_total",
    "Requests answered; reason is OK or that of the error.",
    ["api", "model", "code", "reason"],
    registry=REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "hdsynth_request_duration_seconds",
    "From the first byte of a request to the last of its answer.",
    ["api", "model"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
STAGE_SECONDS = Histogram(
    "hdsynth_stage_duration_seconds",
    "Time of one stage: decode, queue, infer, encode.",
    ["stage"],
    buckets=_SECONDS,
    registry=REGISTRY,
)


@cache
def stage_seconds(stage: str) -> Histogram:
    """Return the histogram of one stage, of which there are few."""
    return STAGE_SECONDS.labels(stage)


QUEUE_DEPTH = Gauge(
    "hdsynth_queue_depth", "Scenes waiting.", ["model", "lane", "bucket"], registry=REGISTRY
)
QUEUE_OLDEST_SECONDS = Gauge(
    "hdsynth_queue_oldest_age_seconds",
    "Age of the scene that has waited longest.",
    ["model"],
    registry=REGISTRY,
)
QUEUE_PREDICTED_SECONDS = Gauge(
    "hdsynth_queue_wait_predicted_seconds",
    "How long a scene that came now would wait; scale on this.",
    ["model"],
    registry=REGISTRY,
)
ENGINE_BUSY = Gauge(
    "hdsynth_engine_busy_ratio",
    "Part of the last 30 s in which the engines worked; scale on this too.",
    ["model"],
    registry=REGISTRY,
)
BATCH_SIZE = Histogram(
    "hdsynth_batch_size",
    "Scenes per run of the engine; sum / count is the mean.",
    ["model"],
    buckets=(1, 2, 3, 4, 6, 8, 12, 16, 32),
    registry=REGISTRY,
)
BATCH_CLOSED = Counter(
    "hdsynth_batch_closed_total",
    "Batches by what closed them: full, idle, delay.",
    ["model", "cause"],
    registry=REGISTRY,
)
SHED = Counter(
    "hdsynth_shed_total", "Scenes refused before they cost anything.", ["reason"], registry=REGISTRY
)
CANCELLED = Counter(
    "hdsynth_cancelled_total",
    "Scenes whose caller left, by where they were: queue, infer, encode.",
    ["phase"],
    registry=REGISTRY,
)
RESULT_CACHE = Counter(
    "hdsynth_result_cache_total",
    "Jobs looked up among the photographs made before: hit, miss.",
    ["outcome"],
    registry=REGISTRY,
)
STREAM_SESSIONS = Gauge("hdsynth_stream_sessions", "Open streams.", ["api"], registry=REGISTRY)
STREAM_FRAMES = Counter(
    "hdsynth_stream_frames_total",
    "Frames by outcome: delivered, superseded, expired, overloaded, invalid.",
    ["outcome"],
    registry=REGISTRY,
)
STREAM_AGE_SECONDS = Histogram(
    "hdsynth_stream_frame_age_seconds",
    "From a frame's arrival to its result.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
ENGINE = Info("hdsynth_engine", "What runs each model.", ["model"], registry=REGISTRY)
ENGINE_LOAD_SECONDS = Histogram(
    "hdsynth_engine_load_seconds",
    "From starting an engine process to its last warm-up run.",
    ["model"],
    buckets=(1, 2.5, 5, 10, 30, 60, 120, 300),
    registry=REGISTRY,
)
ENGINE_RESTARTS = Counter(
    "hdsynth_engine_restarts_total",
    "Engine processes that ended unasked and were started anew.",
    ["model"],
    registry=REGISTRY,
)
LOOP_LAG_SECONDS = Gauge(
    "hdsynth_event_loop_lag_seconds",
    "How late the event loop ran its last timer.",
    registry=REGISTRY,
)
