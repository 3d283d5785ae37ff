"""Styles from photographs, over every face."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from hdsynth.v1 import synthesis_pb2 as pb
from hdsynth.v1 import synthesis_pb2_grpc
from numpy.typing import NDArray
from PIL import Image

from model.bundle import load_bundle
from model.checkpoint import load_encoder
from model.codec import prepare_maps
from model.encode import encode_styles
from model.scenes import CLASSES, Scene
from model.style_means import mean_codes
from tests.service.conftest import Server, png, start_server, stop_server

WINDOW = CLASSES.index("window")


@pytest.fixture(scope="module")
def photo(scene: Scene) -> NDArray[np.uint8]:
    """A picture of the scene's size."""
    return np.random.default_rng(0).integers(0, 256, (*scene.label.shape, 3), np.uint8)


@pytest.fixture(scope="module")
def found(client: httpx.Client, files: dict[str, bytes], photo: NDArray[np.uint8]) -> Any:
    """The styles that the server takes from it."""
    response = client.post("/v1/encode", files=files | {"photo": png(photo)})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture(scope="module")
def plain(plain_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a model without styles."""
    log = tmp_path_factory.mktemp("plain") / "stderr.log"
    server = start_server(log, model=plain_bundle, buckets="64x64")
    yield server
    stop_server(server)


def test_styles_are_those_of_the_encoder(
    found: Any, tiny_bundle: Path, scene: Scene, photo: NDArray[np.uint8]
) -> None:
    """Every instance and every class has the mean of what torch's encoder sees."""
    bundle = load_bundle(tiny_bundle)
    maps = prepare_maps(scene.label, scene.instance, len(CLASSES))
    codes = encode_styles(load_encoder(bundle), photo, maps.index)
    wanted = mean_codes(codes, maps.index, maps.object_ids)
    assert found["model_version"] == bundle.version
    assert {int(key) for key in found["styles"]} == wanted.keys()
    for key, code in found["styles"].items():
        assert code == pytest.approx(wanted[int(key)], abs=1e-4)
    by_label = mean_codes(codes, maps.index, maps.object_labels)
    assert found["class_styles"]["window"] == pytest.approx(by_label[WINDOW], abs=1e-4)


def synthesize(
    client: httpx.Client, files: dict[str, bytes], options: dict[str, Any] | None = None
) -> bytes:
    """Ask for a photograph."""
    data = {"options": json.dumps(options or {})}
    response = client.post("/v1/synthesize", files=files, data=data)
    assert response.status_code == 200, response.text
    return response.content


def test_style_photo_gives_every_object_its_style(
    client: httpx.Client,
    server: Server,
    files: dict[str, bytes],
    photo: NDArray[np.uint8],
    found: Any,
) -> None:
    """It does what the styles taken from it do, over REST and gRPC; chosen styles win."""
    given = files | {"style_photo": png(photo)}
    taken = synthesize(client, given)
    assert taken != synthesize(client, files)
    spelled = synthesize(client, files, {"styles": found["styles"]})
    assert np.abs(as_numbers(taken) - as_numbers(spelled)).max() <= 1  # six digits are sent
    assert taken == synthesize(client, given, {"seed": 3})
    assert taken != synthesize(client, given, {"class_styles": {"window": 1}})
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub: Any = synthesis_pb2_grpc.SynthesisServiceStub(channel)  # type: ignore[no-untyped-call]
        request = pb.SynthesizeRequest(
            label=pb.Map(data=files["label"]),
            instance=pb.Map(data=files["instance"]),
            style_photo=png(photo),
        )
        assert stub.Synthesize(request, timeout=60).photo.data == taken


def as_numbers(photo: bytes) -> NDArray[np.int64]:
    """Decode a photograph into numbers that can be subtracted."""
    return np.asarray(Image.open(io.BytesIO(photo))).astype(np.int64)


@pytest.mark.parametrize(
    ("address", "field"), [("/v1/encode", "photo"), ("/v1/synthesize", "style_photo")]
)
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "EMPTY_UPLOAD"),
        (b"no picture", "UNSUPPORTED_FORMAT"),
        (png(np.zeros((8, 8, 3), np.uint8)), "SIZE_MISMATCH"),
    ],
)
def test_bad_photographs_are_told(
    client: httpx.Client,
    files: dict[str, bytes],
    address: str,
    field: str,
    data: bytes,
    reason: str,
) -> None:
    """What cannot be used is told with the field at fault."""
    response = client.post(address, files=files | {field: data})
    assert (response.status_code, response.json()["reason"]) == (422, reason)
    assert response.json()["errors"][0]["pointer"] == f"#/{field}"
    assert response.json()["detail"].startswith(f"{field}: ")


def test_missing_photograph_is_told(client: httpx.Client, files: dict[str, bytes]) -> None:
    """Without a photograph there is nothing to encode."""
    response = client.post("/v1/models/tiny:encode", files=files)
    assert response.json()["reason"] == "MISSING_FIELD"


@pytest.mark.parametrize(
    ("address", "field"), [("/v1/encode", "photo"), ("/v1/synthesize", "style_photo")]
)
def test_model_without_an_encoder(
    plain: Server, files: dict[str, bytes], photo: NDArray[np.uint8], address: str, field: str
) -> None:
    """A model without styles says so."""
    response = httpx.post(f"{plain.url}{address}", files=files | {field: png(photo)}, timeout=60)
    assert (response.status_code, response.json()["reason"]) == (422, "NO_ENCODER")
