import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from hdsynth.v1 import synthesis_pb2 as pb
from hdsynth.v1 import synthesis_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from model.scenes import Scene
from tests.service.conftest import Server, start_server, stop_server

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Receives spans over the network, as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self._arrived = threading.Condition()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802, gRPC's
        """Keep what a server sends."""
        with self._arrived:
            for resource in request.resource_spans:
                names = [a for a in resource.resource.attributes if a.key == "service.name"]
                self.services |= {name.value.string_value for name in names}
                for scope in resource.scope_spans:
                    self.spans += scope.spans
            self._arrived.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def trace(self, trace_id: str, count: int) -> list[Span]:
        """Wait for that many spans of a trace; return them in the order of their starts."""

        def found() -> list[Span]:
            mine = [span for span in self.spans if span.trace_id.hex() == trace_id]
            return sorted(mine, key=lambda span: span.start_time_unix_nano)

        with self._arrived:
            assert self._arrived.wait_for(lambda: len(found()) >= count, timeout=60)
            return found()


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, str]]:
    """A collector on a real socket, and its address."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture(scope="module")
def traced(
    tiny_bundle: Path, collector: tuple[Collector, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that sends its traces there, soon."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        server = start_server(
            tmp_path_factory.mktemp("traced") / "stderr.log",
            model=tiny_bundle,
            buckets="64x64",
            tracing_endpoint=collector[1],
        )
    yield server
    stop_server(server)


def attributes(span: Span) -> dict[str, object]:
    """Return the attributes of a span."""
    return {a.key: a.value.int_value or a.value.string_value for a in span.attributes}


def test_a_request_is_a_trace_of_its_stages(
    traced: Server, collector: tuple[Collector, str], files: dict[str, bytes]
) -> None:
    """A span per request continues the caller's trace; its stages follow each other below it."""
    response = httpx.post(
        f"{traced.url}/synthesize", files=files, headers={"traceparent": PARENT}, timeout=60
    )
    assert response.status_code == 200
    spans = {span.name: span for span in collector[0].trace(PARENT.split("-")[1], 5)}
    request = spans.pop("POST rest.synthesize")
    assert request.parent_span_id.hex() == PARENT.split("-")[2]
    assert request.kind == Span.SPAN_KIND_SERVER
    found = attributes(request)
    assert found["http.response.status_code"] == 200
    assert found["hdsynth.request_id"] == response.headers["x-request-id"]
    assert list(spans) == ["decode", "queue", "infer", "encode"]
    end = request.start_time_unix_nano
    for stage in spans.values():
        assert stage.parent_span_id == request.span_id
        assert end <= stage.start_time_unix_nano <= stage.end_time_unix_nano
        end = stage.end_time_unix_nano
    assert end <= request.end_time_unix_nano
    assert collector[0].services == {"hdsynth"}
    assert traced.record(response.headers["x-request-id"])["trace_id"] == PARENT.split("-")[1]


def test_a_refused_request_has_its_reason(traced: Server, collector: tuple[Collector, str]) -> None:
    """Without stages the request's span stands alone, and says why."""
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    httpx.post(f"{traced.url}/synthesize", headers=headers)
    (span,) = collector[0].trace(trace_id, 1)
    assert attributes(span)["hdsynth.reason"] == "NOT_MULTIPART"


def test_a_call_is_a_trace_of_its_stages(
    traced: Server, collector: tuple[Collector, str], scene: Scene
) -> None:
    """GRPC is traced as REST is: one span that continues the caller's trace, stages below it."""
    trace_id = "7bf92f3577b34da6a3ce929d0e0e4737"
    height, width = scene.label.shape
    data = scene.label.astype(np.uint8).tobytes()
    plane = pb.Map(encoding=pb.MAP_ENCODING_RAW, width=width, height=height, data=data)
    metadata = [("traceparent", f"00-{trace_id}-b7ad6b7169203331-01")]
    with grpc.insecure_channel(traced.grpc_address) as channel:
        stub: Any = synthesis_pb2_grpc.SynthesisServiceStub(channel)  # type: ignore[no-untyped-call]
        stub.Synthesize(pb.SynthesizeRequest(label=plane), metadata=metadata, timeout=60)
    spans = {span.name: span for span in collector[0].trace(trace_id, 5)}
    call = spans.pop("hdsynth.v1.SynthesisService/Synthesize")
    assert call.parent_span_id.hex() == "b7ad6b7169203331"
    assert attributes(call)["hdsynth.model"] == "tiny"
    assert list(spans) == ["decode", "queue", "infer", "encode"]
    assert {span.parent_span_id for span in spans.values()} == {call.span_id}


def test_without_a_collector_nothing_is_imported() -> None:
    """Who does not trace does not pay."""
    program = (
        "import sys; from service.app import create_app; from service.settings import Settings\n"
        "create_app(Settings()); print([m for m in sys.modules if 'opentelemetry.sdk' in m])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
