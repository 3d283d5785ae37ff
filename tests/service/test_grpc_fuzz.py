"""gRPC against garbage: no message that anybody can send is the server's fault or its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from hdsynth.oip.v2 import inference_pb2
from hdsynth.v1 import synthesis_pb2 as pb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.scenes import Scene
from tests.service.conftest import Server

SYNTHESIZE = "/hdsynth.v1.SynthesisService/Synthesize"
INFER = "/inference.GRPCInferenceService/ModelInfer"
UNARY = (
    SYNTHESIZE,
    "/hdsynth.v1.SynthesisService/GetModel",
    "/hdsynth.v1.SynthesisService/ListModels",
    "/inference.GRPCInferenceService/ServerReady",
    "/inference.GRPCInferenceService/ModelMetadata",
    INFER,
    "/grpc.health.v1.Health/Check",
)
ANSWERS = {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}
FEW = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[Any]:
    """A connection that takes any bytes as a message."""
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield channel


@pytest.fixture(scope="module")
def request_bytes(scene: Scene) -> bytes:
    """A request that is served."""
    label = scene.label.astype(np.uint8)
    height, width = label.shape
    plane = pb.Map(encoding=pb.MAP_ENCODING_RAW, width=width, height=height, data=label.tobytes())
    styles = pb.Styles(seed=3, classes={10: pb.Style(cluster=1)})
    return pb.SynthesizeRequest(label=plane, styles=styles).SerializeToString()


@pytest.fixture(autouse=True)
def still_serves(server: Server, channel: Any, request_bytes: bytes) -> Iterator[None]:
    """Check that a good request is served before and after alike, and that nothing broke."""
    before, logged = send(channel, SYNTHESIZE, request_bytes), server.log.stat().st_size
    yield
    after = send(channel, SYNTHESIZE, request_bytes)
    assert (before[0], after[0]) == ("OK", "OK")
    photos = [pb.SynthesizeResponse.FromString(reply).photo for _, reply in (before, after)]
    assert photos[0] == photos[1]
    assert b"Traceback" not in server.log.read_bytes()[logged:]


def send(channel: Any, method: str, message: bytes) -> tuple[str, bytes]:
    """Send bytes as a message; return the code, and the reply's bytes if there is one."""
    try:
        return "OK", channel.unary_unary(method)(message, timeout=60)
    except grpc.RpcError as error:
        call: Any = error
        return call.code().name, b""


@pytest.mark.parametrize("method", UNARY)
def test_random_bytes(channel: Any, method: str) -> None:
    """Noise of any length is refused as unreadable, or read as something else and checked."""
    draws = np.random.default_rng(len(method))
    for length in (*range(40), *draws.integers(40, 5000, 20)):
        code, _ = send(channel, method, draws.bytes(length))
        assert code in ANSWERS


def test_damaged_requests(channel: Any, request_bytes: bytes) -> None:
    """A good request with a few bytes changed, cut off or repeated."""
    draws = np.random.default_rng(0)
    for turn in range(150):
        damaged = bytearray(request_bytes)
        # Half of them among the fields, before the map's own long row of bytes.
        end = 24 if turn % 2 else len(damaged)
        for place in draws.integers(0, end, draws.integers(1, 4)):
            damaged[place] = draws.integers(256)
        cut = len(damaged) if turn % 3 else draws.integers(len(damaged))
        code, _ = send(channel, SYNTHESIZE, bytes(damaged[:cut]))
        assert code in ANSWERS


STYLES = st.recursive(
    st.one_of(
        st.just(pb.Style()),
        st.builds(lambda k: pb.Style(cluster=k), st.integers(0, 2**32 - 1)),
        st.builds(
            lambda v: pb.Style(code=pb.StyleCode(values=v)),
            st.lists(st.floats(width=32), max_size=5),
        ),
    ),
    lambda style: st.builds(
        lambda a, b, at: pb.Style(between=pb.StyleBetween(first=a, second=b, at=at)),
        style,
        style,
        st.floats(width=32),
    ),
    max_leaves=6,
)
SIDES = st.one_of(st.integers(0, 20), st.sampled_from([2**16, 2**31, 2**32 - 1]))
MAPS = st.builds(
    lambda encoding, element, width, height, data: pb.Map(
        encoding=encoding, element_type=element, width=width, height=height, data=data
    ),
    st.integers(0, 5),
    st.integers(0, 5),
    SIDES,
    SIDES,
    st.one_of(st.binary(max_size=64), st.integers(0, 400).map(bytes)),
)
FITTING = st.builds(
    lambda width, height, values: pb.Map(
        encoding=pb.MAP_ENCODING_RAW,
        width=width,
        height=height,
        data=bytes(values[i % len(values)] for i in range(width * height)),
    ),
    st.integers(1, 20),
    st.integers(1, 20),
    st.lists(st.integers(0, 13), min_size=1, max_size=8),
)
REQUESTS = st.builds(
    pb.SynthesizeRequest,
    model=st.sampled_from(["", "tiny", "other"]),
    label=st.one_of(st.none(), MAPS, FITTING),
    instance=st.one_of(st.none(), MAPS, FITTING),
    styles=st.builds(
        lambda seed, classes, instances: pb.Styles(seed=seed, classes=classes, instances=instances),
        st.integers(0, 2**64 - 1),
        st.dictionaries(st.integers(0, 2**32 - 1) | st.integers(0, 12), STYLES, max_size=3),
        st.dictionaries(st.integers(-(2**63), 2**63 - 1), STYLES, max_size=3),
    ),
    format=st.integers(0, 6),
    quality=st.one_of(st.integers(0, 101), st.just(2**32 - 1)),
)


@FEW
@given(request=REQUESTS)
def test_structured_requests(channel: Any, request: pb.SynthesizeRequest) -> None:
    """Requests of the right form with any sizes, encodings, styles and formats."""
    code, _ = send(channel, SYNTHESIZE, request.SerializeToString())
    assert code in ANSWERS


TENSORS = st.builds(
    lambda name, datatype, shape, contents: inference_pb2.ModelInferRequest.InferInputTensor(
        name=name, datatype=datatype, shape=shape, contents=contents
    ),
    st.sampled_from(["label", "label", "instance", "seed", "options", "other"]),
    st.sampled_from(["UINT8", "UINT16", "INT32", "INT64", "BYTES", "FP32", ""]),
    st.lists(st.one_of(st.integers(-1, 6), st.just(2**62)), max_size=4),
    st.one_of(
        st.none(),
        st.builds(
            lambda u, i, b: inference_pb2.InferTensorContents(
                uint_contents=u, int64_contents=i, bytes_contents=b
            ),
            st.lists(st.integers(0, 300), max_size=12),
            st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
            st.lists(st.binary(max_size=20), max_size=3),
        ),
    ),
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["seed", "format", "timeout", "other"]),
    st.one_of(
        st.just(inference_pb2.InferParameter()),
        st.builds(lambda v: inference_pb2.InferParameter(int64_param=v), st.integers(-5, 2**62)),
        st.builds(lambda v: inference_pb2.InferParameter(string_param=v), st.text(max_size=5)),
        st.builds(lambda v: inference_pb2.InferParameter(double_param=v), st.floats()),
    ),
    max_size=2,
)
BATCHES = st.builds(
    inference_pb2.ModelInferRequest,
    model_name=st.sampled_from(["", "tiny", "other"]),
    parameters=PARAMETERS,
    inputs=st.lists(TENSORS, max_size=3),
    raw_input_contents=st.one_of(
        st.just([]), st.lists(st.one_of(st.binary(max_size=40), st.just(bytes(16))), max_size=3)
    ),
)


@FEW
@given(request=BATCHES)
def test_structured_batches(channel: Any, request: inference_pb2.ModelInferRequest) -> None:
    """Batches of tensors with any shapes, datatypes, contents and parameters."""
    code, _ = send(channel, INFER, request.SerializeToString())
    # A timeout of microseconds is a deadline that cannot be kept.
    assert code in ANSWERS | {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}


def test_streams_of_noise(channel: Any) -> None:
    """Unreadable messages end a stream as unreadable."""
    stream = channel.stream_stream("/hdsynth.v1.SynthesisService/SynthesizeStream")
    reflection = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    )
    for call in (stream, reflection):
        with pytest.raises(grpc.RpcError) as caught:
            list(call(iter([b"\xff" * 9]), timeout=60))
        error: Any = caught.value
        assert error.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}
