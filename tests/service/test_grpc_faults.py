"""gRPC when callers leave and engines fail; the engine is a stand-in of known speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status
from hdsynth.v1 import synthesis_pb2 as pb
from hdsynth.v1 import synthesis_pb2_grpc

from tests.service.conftest import Server, start_server, stop_server

POISON, CRASH = 6, 7
DECODED = 'hdsynth_stage_duration_seconds_count{stage="decode"}'


@pytest.fixture(scope="module")
def slow(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose engine takes a second for one image, and two labels amiss."""
    server = start_server(
        tmp_path_factory.mktemp("slow") / "stderr.log",
        model=tiny_bundle,
        buckets="64x64",
        backend=f"fake:base_ms=1000,poison={POISON},crash={CRASH}",
        max_batch=1,
        result_cache_mb=0,
    )
    yield server
    stop_server(server)


@pytest.fixture(scope="module")
def stub(slow: Server) -> Iterator[Any]:
    """The calls of its service."""
    with grpc.insecure_channel(slow.grpc_address) as channel:
        yield synthesis_pb2_grpc.SynthesisServiceStub(channel)  # type: ignore[no-untyped-call]


def scene(label: int) -> pb.SynthesizeRequest:
    """Ask for the photograph of a plain."""
    plane = pb.Map(encoding=pb.MAP_ENCODING_RAW, width=8, height=8, data=bytes([label]) * 64)
    return pb.SynthesizeRequest(label=plane)


def metric(server: Server, name: str) -> float:
    """Add up the samples of a metric."""
    text = httpx.get(f"{server.metrics_url}/metrics").text
    lines = (line for line in text.splitlines() if line.startswith(name))
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def details(error: Any) -> dict[str, Any]:
    """Unpack the details of a rich status."""
    status = rpc_status.from_call(error)
    assert status is not None
    found = {}
    for packed in status.details:
        name = packed.type_url.rpartition(".")[2]
        found[name] = getattr(error_details_pb2, name)()
        packed.Unpack(found[name])
    return found


def test_cancelled_calls_never_reach_the_engine(slow: Server, stub: Any) -> None:
    """Three callers leave while the engine works for others: it runs for those alone."""
    staying = []
    for number in (1, 2):  # the engine holds two batches, one of them running
        staying.append(stub.Synthesize.future(scene(1)))
        while metric(slow, DECODED) < number:
            assert not staying[0].done()
    leaving = [stub.Synthesize.future(scene(2)) for _ in range(3)]
    while metric(slow, "hdsynth_queue_depth") < len(leaving):
        assert not staying[0].done()
    for call in leaving:
        assert call.cancel()
    assert [call.result().photo.width for call in staying] == [8, 8]
    stub.Synthesize(scene(3))
    assert metric(slow, "hdsynth_batch_size_count") == 3
    assert metric(slow, "hdsynth_cancelled_total") == len(leaving)


def test_deadline_frees_the_queue(slow: Server, stub: Any) -> None:
    """A call whose deadline passes in the queue ends then, not when its turn comes."""
    served = stub.Synthesize.future(scene(1))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Synthesize(scene(2), timeout=0.2)
    error: Any = caught.value
    assert error.code() in {
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,  # once the engine's speed is known
    }
    assert not served.done()
    assert served.result().photo.width == 8


def test_engine_that_fails_on_a_scene(slow: Server, stub: Any) -> None:
    """The caller learns an id, the log what happened; the next call is served."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.Synthesize(scene(POISON))
    error: Any = caught.value
    assert error.code() == grpc.StatusCode.INTERNAL
    found = details(error)
    assert found["ErrorInfo"].reason == "INTERNAL"
    assert "poison" not in error.details()
    assert found["RequestInfo"].request_id in slow.log.read_text()
    assert stub.Synthesize(scene(1)).photo.width == 8


def test_engine_that_ends(slow: Server, stub: Any) -> None:
    """Its caller is told to come back, and is served when it does so."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.Synthesize(scene(CRASH))
    error: Any = caught.value
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    found = details(error)
    assert found["ErrorInfo"].reason == "ENGINE_LOST"
    assert found["RetryInfo"].retry_delay.ToMilliseconds() > 0
    answers = (answer_or_none(stub) for _ in range(300))
    assert next(filter(None, answers)).photo.width == 8


def answer_or_none(stub: Any) -> Any:
    """Return the answer to a good request; None, after a pause, if there is none yet."""
    try:
        return stub.Synthesize(scene(1))
    except grpc.RpcError:
        time.sleep(0.2)
        return None
