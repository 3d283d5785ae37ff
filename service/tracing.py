"""Traces to an OpenTelemetry collector: a span per request, with its stages below it.

Imported only where a collector is configured; needs the extra ``tracing``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.metadata import version

try:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ImportError(
        "tracing_endpoint needs more packages: pip install 'hdsynth[tracing]'"
    ) from error

Attributes = Mapping[str, str | int | float]


class RequestTrace:
    """The span of one request while it runs."""

    def __init__(self, tracer: Tracer, name: str, carrier: Mapping[str, str]) -> None:
        parent = TraceContextTextMapPropagator().extract(carrier)
        self._tracer = tracer
        self._span: Span = tracer.start_span(name, parent, SpanKind.SERVER)

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def end(
        self,
        name: str,
        stage_times: Mapping[str, float],
        attributes: Attributes,
        *,
        failed: bool,
    ) -> None:
        """End the span under its final name; ``stage_times`` are seconds in the order of stages."""
        ended = time.time_ns()
        self._span.update_name(name)
        self._span.set_attributes(dict(attributes))
        if failed:
            self._span.set_status(StatusCode.ERROR)
        # Stages follow each other without a gap, and the answer leaves as soon as the last is done.
        started = ended - sum(int(seconds * 1e9) for seconds in stage_times.values())
        context = set_span_in_context(self._span)
        for stage, seconds in stage_times.items():
            child = self._tracer.start_span(stage, context, start_time=started)
            started += int(seconds * 1e9)
            child.end(started)
        self._span.end(ended)


class Tracing:
    """The way to a collector: ``endpoint`` is an OTLP gRPC address, ``https://`` for TLS.

    OpenTelemetry's own variables hold beside it, ``OTEL_TRACES_SAMPLER`` and
    ``OTEL_EXPORTER_OTLP_HEADERS`` for instance.
    """

    def __init__(self, endpoint: str) -> None:
        resource = Resource.create(
            {"service.name": "hdsynth", "service.version": version("hdsynth")}
        )
        # Closed by us, in time: at interpreter exit its thread could not send any more.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        self._tracer = self._provider.get_tracer("hdsynth")

    def start(self, name: str, carrier: Mapping[str, str]) -> RequestTrace:
        """Begin a request's span; ``carrier`` holds its lower-case headers (W3C traceparent)."""
        return RequestTrace(self._tracer, name, carrier)

    def close(self) -> None:
        """Send what is left, and end. Blocks while the collector is slow, for seconds at most."""
        self._provider.shutdown()
