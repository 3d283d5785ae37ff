"""gRPC with a real client against a real server process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from hdsynth.v1 import synthesis_pb2 as pb
from hdsynth.v1 import synthesis_pb2_grpc

from model.bundle import load_bundle
from model.scenes import CLASSES, PALETTE, Scene
from tests.service.conftest import Server, pixels, png

Synthesize = Callable[..., pb.SynthesizeResponse]
SERVICE = "hdsynth.v1.SynthesisService"


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    """A connection to the server."""
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> synthesis_pb2_grpc.SynthesisServiceStub:
    """The calls of the service."""
    return synthesis_pb2_grpc.SynthesisServiceStub(channel)  # type: ignore[no-untyped-call]


@pytest.fixture
def synthesize(
    stub: synthesis_pb2_grpc.SynthesisServiceStub, scene: Scene, files: dict[str, bytes]
) -> Synthesize:
    """Ask for the photograph of the scene, as PNG maps unless told otherwise."""

    def call(**fields: Any) -> pb.SynthesizeResponse:
        maps: dict[str, Any] = {
            "label": pb.Map(data=files["label"]),
            "instance": pb.Map(data=files["instance"]),
        }
        response = stub.Synthesize(pb.SynthesizeRequest(**maps | fields), timeout=60)
        assert isinstance(response, pb.SynthesizeResponse)
        return response

    return call


def raw(array: np.ndarray, element_type: pb.ElementType, *, packed: bool = False) -> pb.Map:
    """Write a map as a raw plane."""
    data = array.tobytes()
    return pb.Map(
        encoding=pb.MAP_ENCODING_RAW_ZLIB if packed else pb.MAP_ENCODING_RAW,
        element_type=element_type,
        width=array.shape[1],
        height=array.shape[0],
        data=zlib.compress(data, 1) if packed else data,
    )


def details(error: Any) -> dict[str, Any]:
    """Unpack the details of a rich status by the names of their messages."""
    status = rpc_status.from_call(error)
    assert status is not None
    found = {}
    for packed in status.details:
        name = packed.type_url.rpartition(".")[2]
        found[name] = getattr(error_details_pb2, name)()
        assert packed.Unpack(found[name])
    return found


def code(error: Any) -> grpc.StatusCode:
    """Return the code of an error, which is a call too."""
    return grpc.StatusCode(error.code())


def refusal(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """Return code and reason."""
    info = details(error)["ErrorInfo"]
    assert info.domain == "hdsynth"
    return code(error), info.reason


def test_photograph_is_that_of_rest(
    synthesize: Synthesize, client: httpx.Client, files: dict[str, bytes]
) -> None:
    """Both faces stand on one core: the same maps and seed give the same bytes."""
    response = synthesize(styles=pb.Styles(seed=5))
    rest = client.post("/v1/synthesize", files=files, data={"options": '{"seed": 5}'})
    assert response.photo.data == rest.content
    assert (response.photo.width, response.photo.height) == (96, 80)
    assert response.photo.format == pb.IMAGE_FORMAT_PNG
    assert response.model_version == rest.headers["x-model-version"]
    seconds = response.seconds
    assert min(seconds.decode, seconds.infer, seconds.encode) > 0


@pytest.mark.parametrize("packed", [False, True])
def test_raw_planes(synthesize: Synthesize, scene: Scene, packed: bool) -> None:
    """Raw and deflated planes give the photograph that PNG files of the same ids give."""
    label = raw(scene.label.astype(np.uint8), pb.ELEMENT_TYPE_UINT8, packed=packed)
    instance = raw(scene.instance.astype("<i4"), pb.ELEMENT_TYPE_INT32, packed=packed)
    assert synthesize(label=label, instance=instance).photo == synthesize().photo


@pytest.mark.parametrize(
    ("format_", "kind"), [("JPEG", b"\xff\xd8\xff"), ("WEBP", b"RIFF"), ("PNG", b"\x89PNG")]
)
def test_formats(synthesize: Synthesize, format_: str, kind: bytes) -> None:
    """The photograph comes as the file that was asked for."""
    photo = synthesize(format=f"IMAGE_FORMAT_{format_}").photo
    assert photo.data.startswith(kind)
    assert photo.format == pb.ImageFormat.Value(f"IMAGE_FORMAT_{format_}")


def test_raw_photograph(synthesize: Synthesize) -> None:
    """RAW is the pixels of the PNG."""
    photo = synthesize(format=pb.IMAGE_FORMAT_RAW).photo
    shape = (photo.height, photo.width, 3)
    plain = np.frombuffer(photo.data, np.uint8).reshape(shape)
    assert np.array_equal(plain, pixels(synthesize().photo.data))


def test_styles_are_those_of_rest(
    synthesize: Synthesize, client: httpx.Client, files: dict[str, bytes], scene: Scene
) -> None:
    """Clusters, codes and places between them mean the same, for classes and instances."""
    window, facade = CLASSES.index("window"), CLASSES.index("facade")
    instance = next(int(i) for i in np.unique(scene.instance) if i // 1000 == window)
    between = pb.StyleBetween(
        first=pb.Style(cluster=1),
        second=pb.Style(code=pb.StyleCode(values=[0.5, 0, -0.5])),
        at=0.25,
    )
    styles = pb.Styles(
        classes={window: pb.Style(cluster=2), facade: pb.Style(between=between)},
        instances={instance: pb.Style(code=pb.StyleCode(values=[0.5, 0.25, -1]))},
    )
    options = {
        "class_styles": {"window": 2, "facade": {"between": [1, [0.5, 0, -0.5]], "at": 0.25}},
        "styles": {str(instance): [0.5, 0.25, -1]},
    }
    rest = client.post("/synthesize", files=files, data={"options": json.dumps(options)})
    assert synthesize(styles=styles).photo.data == rest.content


def test_models(stub: synthesis_pb2_grpc.SynthesisServiceStub, tiny_bundle: Path) -> None:
    """Classes, colours, styles and sizes are told, of one model and of all."""
    (model,) = stub.ListModels(pb.ListModelsRequest()).models
    assert stub.GetModel(pb.GetModelRequest()).model == model
    assert stub.GetModel(pb.GetModelRequest(model="tiny")).model == model
    assert (model.name, model.version) == ("tiny", load_bundle(tiny_bundle).version)
    assert tuple(entry.name for entry in model.classes) == CLASSES
    assert tuple(tuple(entry.colour.to_bytes(3, "big")) for entry in model.classes) == PALETTE
    assert (model.max_pixels, model.size_multiple, model.style_channels) == (2097152, 4, 3)


def test_metadata_names_request_and_model(stub: synthesis_pb2_grpc.SynthesisServiceStub) -> None:
    """The caller's own id comes back beside the model's version."""
    _, call = stub.GetModel.with_call(pb.GetModelRequest(), metadata=[("x-request-id", "trace-7")])
    trailing = dict(call.trailing_metadata())
    assert trailing["x-request-id"] == "trace-7"
    assert re.fullmatch(r"[0-9a-f]{12}", trailing["x-model-version"])


UNKNOWN: Any = 99
STYLE = pb.Style(cluster=0)
NESTED = pb.Style(between=pb.StyleBetween(first=STYLE, second=STYLE, at=0.5))


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"label": None}, "MISSING_FIELD", "label"),
        ({"label": pb.Map()}, "EMPTY_UPLOAD", "label"),
        ({"label": pb.Map(data=b"GIF89a")}, "UNSUPPORTED_FORMAT", "label"),
        ({"label": pb.Map(encoding=UNKNOWN, data=b"1")}, "INVALID_FIELD", "label.encoding"),
        ({"label": pb.Map(element_type=UNKNOWN, data=b"1")}, "INVALID_FIELD", "label.element_type"),
        (
            {"label": pb.Map(encoding=pb.MAP_ENCODING_RAW, width=4, height=2, data=b"12345")},
            "INVALID_IMAGE",
            "label",
        ),
        ({"label": pb.Map(encoding=pb.MAP_ENCODING_RAW, data=b"12345")}, "INVALID_IMAGE", "label"),
        (
            {
                "label": pb.Map(
                    encoding=pb.MAP_ENCODING_RAW, width=1 << 20, height=1 << 20, data=b"1"
                )
            },
            "IMAGE_TOO_LARGE",
            "label",
        ),
        ({"instance": pb.Map(data=png(np.zeros((3, 3), np.uint8)))}, "SIZE_MISMATCH", "instance"),
        ({"format": 77}, "INVALID_FIELD", "format"),
        ({"quality": 101}, "INVALID_FIELD", "quality"),
        ({"styles": pb.Styles(seed=2**53)}, "INVALID_FIELD", "styles.seed"),
        ({"styles": pb.Styles(classes={11: STYLE})}, "CLASS_NOT_FOUND", "styles.classes.11"),
        ({"styles": pb.Styles(classes={10: pb.Style(cluster=4)})}, "STYLE_NOT_FOUND", "styles"),
        ({"styles": pb.Styles(instances={-5: STYLE})}, "STYLE_NOT_FOUND", "styles"),
        ({"styles": pb.Styles(instances={7: pb.Style()})}, "INVALID_FIELD", "styles.instances.7"),
        (
            {"styles": pb.Styles(classes={10: pb.Style(between=pb.StyleBetween(first=NESTED))})},
            "INVALID_FIELD",
            "styles.classes.10",
        ),
        (
            {"styles": pb.Styles(classes={10: pb.Style(code=pb.StyleCode(values=[float("nan")]))})},
            "STYLE_INVALID",
            "styles",
        ),
    ],
)
def test_bad_requests(
    synthesize: Synthesize, fields: dict[str, object], reason: str, field: str
) -> None:
    """Each is INVALID_ARGUMENT with the reason that REST gives, and names the field."""
    with pytest.raises(grpc.RpcError) as caught:
        synthesize(**fields)
    assert refusal(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    found = details(caught.value)
    violations = found["BadRequest"].field_violations
    assert [violation.field for violation in violations] == [field]
    assert re.fullmatch("[0-9a-f]{32}", found["RequestInfo"].request_id)


def test_calls_are_counted_and_logged(server: Server, synthesize: Synthesize) -> None:
    """Metrics have the method, the model and how it ended; the log has the caller's id."""
    with pytest.raises(grpc.RpcError) as caught:
        synthesize(quality=101)
    request_id = details(caught.value)["RequestInfo"].request_id
    record = server.record(request_id)
    assert record["path"] == f"/{SERVICE}/Synthesize"
    assert (record["status"], record["reason"]) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    labels = 'api="grpc.Synthesize",code="INVALID_ARGUMENT",model="tiny",reason="INVALID_FIELD"'
    metrics = httpx.get(f"{server.metrics_url}/metrics").text
    assert f"hdsynth_requests_total{{{labels}}}" in metrics
    assert 'hdsynth_request_duration_seconds_count{api="grpc.Synthesize",model="tiny"}' in metrics


def test_unknown_model(stub: synthesis_pb2_grpc.SynthesisServiceStub) -> None:
    """A model that is not served is told with those that are."""
    with pytest.raises(grpc.RpcError, match="'none' is none of tiny") as caught:
        stub.GetModel(pb.GetModelRequest(model="none"))
    assert refusal(caught.value) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")


def test_long_faults_make_short_answers(synthesize: Synthesize) -> None:
    """The words of an error stay below what clients read of trailers."""
    code = pb.Style(code=pb.StyleCode(values=[0.123456789] * 100_000))
    with pytest.raises(grpc.RpcError) as caught:
        synthesize(styles=pb.Styles(classes={10: code}))
    assert refusal(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "STYLE_INVALID")


def test_message_above_the_limit(synthesize: Synthesize) -> None:
    """More than 16 MiB are not read."""
    with pytest.raises(grpc.RpcError) as caught:
        synthesize(label=pb.Map(data=bytes(17 << 20)))
    assert code(caught.value) == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_deadline_of_the_call(
    stub: synthesis_pb2_grpc.SynthesisServiceStub, files: dict[str, bytes]
) -> None:
    """A call whose time is over ends as such."""
    request = pb.SynthesizeRequest(label=pb.Map(data=files["label"]))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Synthesize(request, timeout=1e-6)
    assert code(caught.value) == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("name", ["", SERVICE, "inference.GRPCInferenceService", "tiny"])
def test_health(channel: grpc.Channel, name: str) -> None:
    """The server, its services and its models are served, whether asked or watched."""
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=name)
    assert stub.Check(request).status == health_pb2.HealthCheckResponse.SERVING
    watch = stub.Watch(request)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


def test_health_of_what_there_is_not(channel: grpc.Channel) -> None:
    """The protocol wants NOT_FOUND for a name that nobody knows."""
    stub = health_pb2_grpc.HealthStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert refusal(caught.value)[0] == grpc.StatusCode.NOT_FOUND


def test_tools_can_ask_what_there_is(server: Server) -> None:
    """A tool without the .proto file lists and calls the service by reflection."""
    buf = [str(Path(sys.executable).with_name("buf")), "curl", "--http2-prior-knowledge"]
    url = f"http://{server.grpc_address}"
    command = [*buf, "--protocol", "grpc", f"{url}/{SERVICE}/GetModel", "--data", "{}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["model"]["name"] == "tiny"


def test_pings_of_idle_game_engines_are_no_offence(server: Server) -> None:
    """A client that pings more often than the library's default allows stays connected."""
    options = [
        ("grpc.keepalive_time_ms", 1100),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    with grpc.insecure_channel(server.grpc_address, options) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        next(watch)
        time.sleep(5)  # the library's default ends the connection after the third ping
        assert watch.is_active()
        watch.cancel()
