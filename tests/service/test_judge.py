"""Photographs that are scored, and refused, by a real judge in a real server."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import hdsynth_client
import httpx
import numpy as np
import onnx
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status
from hdsynth.v1 import synthesis_pb2 as pb
from hdsynth.v1 import synthesis_pb2_grpc
from hdsynth_client import Client, GrpcClient
from onnx import TensorProto, helper
from PIL import Image

from model.classes import Classes
from model.faithfulness import faithfulness
from model.onnx_segmenter import METADATA_KEY, OnnxSegmenter
from model.scenes import CLASSES, PALETTE
from service.errors import ServiceError
from service.jobs import Job, MapData
from service.judge import PhotoJudge, required_judge
from tests.service.conftest import Server, pixels, start_server, stop_server


def write_judge(path: Path, classes: tuple[str, ...] = CLASSES, **about: object) -> Path:
    """Write a judge that takes a pixel's red value, divided by 24, for its class."""
    nodes = [
        helper.make_node("Gather", ["photo", "zero"], ["red"], axis=3),
        helper.make_node("Div", ["red", "step"], ["classes"]),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.INT64, [], [0]),
        helper.make_tensor("step", TensorProto.UINT8, [], [24]),
    ]
    graph = helper.make_graph(
        nodes, "judge",
        [helper.make_tensor_value_info("photo", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info("classes", TensorProto.UINT8, ["n", "h", "w"])],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps({"classes": classes, **about}))
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def judge_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge of the tiny model's classes."""
    return write_judge(tmp_path_factory.mktemp("judge") / "judge.onnx")


@pytest.fixture(scope="module")
def judging(tiny_bundle: Path, judge_file: Path) -> Iterator[Server]:
    """A server with that judge, and with its cache."""
    log = judge_file.with_name("stderr.log")
    server = start_server(log, model=tiny_bundle, buckets="64x64", judge=judge_file)
    yield server
    stop_server(server)


def ask(url: str, files: dict[str, bytes], **options: float) -> httpx.Response:
    """Ask for a photograph."""
    data = {"options": json.dumps(options)}
    return httpx.post(f"{url}/v1/synthesize", files=files, data=data, timeout=60)


def test_score_is_that_of_the_photograph(
    judging: Server, files: dict[str, bytes], judge_file: Path
) -> None:
    """The header has what the judge makes of the very photograph, cached or not."""
    answers = [ask(judging.url, files, min_faithfulness=0) for _ in range(2)]
    label = np.asarray(Image.open(io.BytesIO(files["label"])))
    expected = OnnxSegmenter(judge_file).faithfulness(label, pixels(answers[0].content))
    assert expected is not None
    assert 0 < expected < 1
    assert [answer.headers["x-cache"] for answer in answers] == ["miss", "hit"]
    for answer in answers:
        assert float(answer.headers["x-faithfulness"]) == pytest.approx(expected, abs=1e-4)


def test_photographs_are_scored_on_request_only(judging: Server, files: dict[str, bytes]) -> None:
    """Without the option there is no score, and the photograph is the same."""
    plain, scored = ask(judging.url, files), ask(judging.url, files, min_faithfulness=0)
    assert "x-faithfulness" not in plain.headers
    assert plain.content == scored.content


def test_poor_photographs_are_refused(judging: Server, files: dict[str, bytes]) -> None:
    """Below the limit comes a stable reason with the score, from the cache too."""
    for _ in range(2):
        answer = ask(judging.url, files, min_faithfulness=1)
        assert (answer.status_code, answer.json()["reason"]) == (422, "UNFAITHFUL")
        assert 0 < float(answer.headers["x-faithfulness"]) < 1
        assert answer.headers["x-faithfulness"] in answer.json()["detail"]


@pytest.mark.parametrize("lowest", [-0.1, 1.1])
def test_limits_outside_the_scale_are_refused(
    judging: Server, files: dict[str, bytes], lowest: float
) -> None:
    """A score is 0 to 1."""
    answer = ask(judging.url, files, min_faithfulness=lowest)
    assert (answer.status_code, answer.json()["reason"]) == (422, "INVALID_OPTIONS")


def test_servers_without_a_judge_say_so(server: Server, files: dict[str, bytes]) -> None:
    """Nobody takes silence for a good score."""
    answer = ask(server.url, files, min_faithfulness=0.5)
    assert (answer.status_code, answer.json()["reason"]) == (422, "NO_JUDGE")
    assert answer.json()["errors"][0]["pointer"] == "#/options/min_faithfulness"


def test_grpc_has_the_same_score(judging: Server, files: dict[str, bytes]) -> None:
    """The response's field, and on refusal the trailing metadata, have the score of REST."""
    rest = ask(judging.url, files, min_faithfulness=0).headers["x-faithfulness"]

    def request(lowest: float | None = None) -> pb.SynthesizeRequest:
        label, instance = (pb.Map(data=files[name]) for name in ("label", "instance"))
        return pb.SynthesizeRequest(label=label, instance=instance, min_faithfulness=lowest)

    with grpc.insecure_channel(judging.grpc_address) as channel:
        stub: Any = synthesis_pb2_grpc.SynthesisServiceStub(channel)  # type: ignore[no-untyped-call]
        plain, scored = stub.Synthesize(request()), stub.Synthesize(request(0))
        assert not plain.HasField("faithfulness")
        assert scored.faithfulness == pytest.approx(float(rest), abs=1e-4)
        codes, refusals = [], []
        for lowest in (1, 2):
            with pytest.raises(grpc.RpcError) as refused:
                stub.Synthesize(request(lowest))
            error: Any = refused.value
            codes.append(error.code())
            refusals.append(error)
    assert codes == [grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT]
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(refusals[0]).details[0].Unpack(info)
    assert info.reason == "UNFAITHFUL"
    assert dict(refusals[0].trailing_metadata())["x-faithfulness"] == rest


@pytest.mark.parametrize("face", ["rest", "grpc"])
def test_the_client_asks_and_is_told(judging: Server, files: dict[str, bytes], face: str) -> None:
    """Both clients have the score of REST, none unasked, and the refusal as a typed error."""
    told = float(ask(judging.url, files, min_faithfulness=0).headers["x-faithfulness"])
    with Client(judging.url) if face == "rest" else GrpcClient(judging.grpc_address) as client:
        maps = files["label"], files["instance"]
        assert client.synthesize(*maps).faithfulness is None
        scored = client.synthesize(*maps, min_faithfulness=0.0)
        assert scored.faithfulness == pytest.approx(told, abs=1e-4)
        with pytest.raises(hdsynth_client.ServiceError) as refused:
            client.synthesize(*maps, min_faithfulness=1.0)
    assert (refused.value.reason, refused.value.retryable) == ("UNFAITHFUL", False)


def test_a_judge_of_other_classes_does_not_judge(tmp_path: Path, tiny_bundle: Path) -> None:
    """Its opinion of this model's photographs would mean nothing."""
    from model.bundle import load_bundle

    judge = PhotoJudge(write_judge(tmp_path / "j.onnx", classes=("sky", "wall")))
    job = Job(MapData(b""), min_faithfulness=0.5)
    assert not judge.knows(Classes(CLASSES, PALETTE))
    with pytest.raises(ServiceError, match="needs a judge of the classes of model tiny"):
        required_judge(judge, job, load_bundle(tiny_bundle))
    assert (
        required_judge(judge, replace(job, min_faithfulness=None), load_bundle(tiny_bundle)) is None
    )


def test_void_classes_and_sizes_are_the_files_own(tmp_path: Path) -> None:
    """The judge leaves out what its file calls void, and looks at the size that it was made for."""
    segmenter = OnnxSegmenter(write_judge(tmp_path / "j.onnx", void=[0], size=32))
    label = np.zeros((64, 64), np.uint8)
    label[:, 32:] = 2
    photo = np.repeat((label * 24 + 5)[..., None], 3, axis=2)
    # Beside the border, resizing mixes the colours; elsewhere all is found.
    score = segmenter.faithfulness(label, photo)
    assert score == pytest.approx(1, abs=0.1)
    assert segmenter.faithfulness(np.zeros((64, 64), np.uint8), photo) is None


@pytest.mark.parametrize("content", [b"", b"no graph"])
def test_damaged_judges_are_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is none is named before anything is served."""
    (tmp_path / "judge.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"judge\.onnx: no ONNX file that can be run"):
        PhotoJudge(tmp_path / "judge.onnx")


def test_a_judge_must_tell_its_classes(tmp_path: Path) -> None:
    """An ONNX file of unknown classes would be trusted blindly."""
    with pytest.raises(ValueError, match="does not tell its classes"):
        PhotoJudge(write_judge(tmp_path / "judge.onnx", classes=()))


def test_faithfulness_is_frequency_weighted_iou() -> None:
    """Classes weigh as much as they have pixels; void and unlabelled pixels do not count."""
    label = np.array([[0, 0, 0, 1, 2, 255]], np.uint8)
    predicted = np.array([[0, 0, 1, 1, 0, 0]], np.uint8)
    # Without class 2 and the pixel of no class: IoU 2/3 with weight 3, and 1/2 with weight 1.
    assert faithfulness(label, predicted, 3, (2,)) == pytest.approx((3 * 2 / 3 + 1 / 2) / 4)
    assert faithfulness(label, label, 3, (2,)) == 1
    assert faithfulness(label, predicted, 3, (0, 1, 2)) is None
