"""The Open Inference Protocol, as its own clients speak it: tritonclient over HTTP and gRPC."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from model.bundle import load_bundle
from model.scenes import Scene
from tests.service.conftest import Server, pixels, png

Infer = Callable[..., Any]
LITTLE = np.zeros((4, 4), np.uint8)


@pytest.fixture(scope="module", params=["http", "grpc"])
def api(request: pytest.FixtureRequest) -> Any:
    """One of the two clients."""
    return {"http": tritonclient.http, "grpc": tritonclient.grpc}[request.param]


@pytest.fixture(scope="module")
def triton(api: Any, server: Server) -> Iterator[Any]:
    """It, connected to the server."""
    address = server.grpc_address if api is tritonclient.grpc else httpx.URL(server.url).netloc
    client = api.InferenceServerClient(address if isinstance(address, str) else address.decode())
    yield client
    client.close()


@pytest.fixture
def infer(api: Any, triton: Any) -> Infer:
    """Send arrays by their names and return the image."""

    def call(parameters: dict[str, Any] | None = None, **arrays: Any) -> Any:
        inputs = []
        for name, array in arrays.items():
            datatype = "BYTES" if array.dtype == object else array.dtype.name.upper()
            inputs.append(api.InferInput(name, array.shape, datatype))
            inputs[-1].set_data_from_numpy(array)
        return triton.infer("tiny", inputs, parameters=parameters).as_numpy("image")

    return call


@pytest.fixture(scope="module")
def photo(client: httpx.Client, files: dict[str, bytes]) -> bytes:
    """What REST makes of the scene with seed 5."""
    return client.post("/synthesize", files=files, data={"options": '{"seed": 5}'}).content


def test_server_and_model_are_described(triton: Any, api: Any, tiny_bundle: Any) -> None:
    """The client's own calls find server and model alive, ready and described."""
    version = load_bundle(tiny_bundle).version
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("tiny")
    assert triton.is_model_ready("tiny", version)
    as_json = {"as_json": True} if api is tritonclient.grpc else {}
    assert triton.get_server_metadata(**as_json)["name"] == "hdsynth"
    metadata = triton.get_model_metadata("tiny", version, **as_json)
    assert (metadata["name"], metadata["versions"]) == ("tiny", [version])
    assert [tensor["name"] for tensor in metadata["inputs"]] == [
        "label",
        "instance",
        "seed",
        "options",
        "style_photo",
    ]
    (image,) = metadata["outputs"]
    assert [int(size) for size in image["shape"]] == [-1, -1, -1, 3]


def test_photograph_is_that_of_rest(infer: Infer, scene: Scene, photo: bytes) -> None:
    """The same maps and seed give the same pixels, with or without a batch dimension."""
    label, instance = scene.label.astype(np.uint8), scene.instance.astype(np.int32)
    seed = np.array([5], np.int64)
    image = infer(label=label[None], instance=instance[None], seed=seed)
    assert image.dtype == np.uint8
    assert np.array_equal(image[0], pixels(photo))
    assert np.array_equal(infer(label=label, instance=instance, seed=seed), image)
    assert np.array_equal(infer({"seed": 5}, label=label, instance=instance), image)


def test_files_in_and_out(infer: Infer, files: dict[str, bytes], photo: bytes) -> None:
    """PNG maps go in as BYTES, and a format brings a file back."""
    maps = {name: np.array([data], object) for name, data in files.items()}
    (file,) = infer({"seed": 5, "format": "png"}, **maps)
    assert file == photo
    (file,) = infer({"format": "jpeg"}, **maps)
    assert file.startswith(b"\xff\xd8\xff")


def test_batch(infer: Infer, scene: Scene) -> None:
    """Every element of a batch is what it is alone, with a seed and options of its own."""
    label = scene.label.astype(np.uint8)
    labels, seeds = np.stack([label, label[::-1], label]), np.array([1, 2, 3], np.int64)
    options = np.array([json.dumps({"class_styles": {"window": i}}) for i in range(3)], object)
    batch = infer(label=labels, seed=seeds, options=options)
    assert batch.shape == (3, *label.shape, 3)
    for i in range(3):
        alone = infer(label=labels[i], seed=seeds[i : i + 1], options=options[i : i + 1])
        assert np.array_equal(batch[i], alone[0])


@pytest.mark.parametrize(
    ("parameters", "arrays", "words"),
    [
        ({}, {"instance": np.zeros((4, 4), np.int32)}, "label: is missing"),
        ({}, {"label": np.zeros((4, 4), np.int32)}, "its datatype is UINT8, UINT16, BYTES"),
        ({}, {"label": np.zeros(4, np.uint8)}, r"its shape is \[H, W\] or \[N, H, W\]"),
        ({}, {"label": np.zeros((65, 1, 1), np.uint8)}, "a batch has at most 64"),
        ({}, {"label": np.full((4, 4), 11, np.uint8)}, "value 11 at x=0, y=0"),
        ({}, {"label": np.zeros((2, 4, 4), np.uint8), "seed": np.zeros(3, np.int64)}, "send one"),
        ({}, {"label": LITTLE, "seed": np.array([-1])}, "seed: is 0 to"),
        (
            {},
            {"label": LITTLE, "mask": np.zeros(1, np.uint8)},
            "'mask' is none",
        ),
        ({}, {"label": np.array([b"GIF89a"], object)}, "label"),
        ({"format": "gif"}, {"label": LITTLE}, "one of raw, png, jpeg, webp"),
        ({"steps": 20}, {"label": LITTLE}, "'steps' is none of"),
        (
            {},
            {"label": LITTLE, "options": np.array(['{"seed": -1}'], object)},
            "options.seed: input should be greater than or equal to 0",
        ),
    ],
)
def test_faults_are_readable(
    infer: Infer, parameters: dict[str, Any], arrays: dict[str, Any], words: str
) -> None:
    """The client's exception has our words."""
    with pytest.raises(InferenceServerException, match=words):
        infer(parameters, **arrays)


def test_unknown_model(triton: Any) -> None:
    """A model or a version that is not served is told."""
    with pytest.raises(InferenceServerException, match="'none' is none of tiny"):
        triton.get_model_metadata("none")
    with pytest.raises(InferenceServerException, match="not '1'"):
        triton.get_model_metadata("tiny", "1")


def test_style_from_a_photograph(
    infer: Infer, client: httpx.Client, files: dict[str, bytes]
) -> None:
    """A photograph per element, or one for all, gives the styles as it does over REST."""
    colours = np.random.default_rng(1).integers(0, 256, (80, 96, 3)).astype(np.uint8)
    arrays = {name: np.array([data] * 2, object) for name, data in files.items()}
    style_photo = np.array([png(colours)], object)
    image = infer({"format": "png"}, **arrays, style_photo=style_photo)
    given = files | {"style_photo": png(colours)}
    expected = client.post("/v1/synthesize", files=given).content
    assert [*image] == [expected, expected]
    assert client.post("/v1/synthesize", files=files).content != expected


def test_timeout_of_a_request(api: Any, triton: Any) -> None:
    """A deadline in microseconds that cannot be kept is told as such."""
    tensor = api.InferInput("label", [64, 64], "UINT8")
    tensor.set_data_from_numpy(np.zeros((64, 64), np.uint8))
    timeout = {"timeout": 1} if api is tritonclient.http else {}
    late = {"client_timeout": 1e-6} if api is tritonclient.grpc else {}
    with pytest.raises(InferenceServerException, match=r"(?i)deadline"):
        triton.infer("tiny", [tensor], **timeout, **late)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests(server: Server, scene: Scene, algorithm: str) -> None:
    """The HTTP client may compress what it sends."""
    with tritonclient.http.InferenceServerClient(httpx.URL(server.url).netloc.decode()) as client:
        tensor = tritonclient.http.InferInput("label", scene.label.shape, "UINT8")
        tensor.set_data_from_numpy(scene.label.astype(np.uint8))
        plain = client.infer("tiny", [tensor])
        packed = client.infer("tiny", [tensor], request_compression_algorithm=algorithm)
        assert np.array_equal(plain.as_numpy("image"), packed.as_numpy("image"))


def test_compressed_bomb(client: httpx.Client) -> None:
    """A small body that inflates beyond the limit is refused before it has."""
    response = client.post(
        "/v2/models/tiny/infer",
        content=gzip.compress(bytes(64 << 20)),
        headers={"Content-Encoding": "gzip"},
    )
    assert response.status_code == 413
    assert response.json()["reason"] == "UPLOAD_TOO_LARGE"


def test_plain_json(client: httpx.Client) -> None:
    """Without any client library: numbers in, numbers out, both nested or flat."""
    label = {"name": "label", "shape": [2, 3], "datatype": "UINT8", "data": [[1, 1, 8], [1, 8, 8]]}
    response = client.post("/v2/models/tiny/infer", json={"id": "a", "inputs": [label]})
    answer = response.json()
    assert (answer["id"], answer["model_name"]) == ("a", "tiny")
    (image,) = answer["outputs"]
    assert (image["name"], image["datatype"], image["shape"]) == ("image", "UINT8", [1, 2, 3, 3])
    flat = label | {"data": [1, 1, 8, 1, 8, 8]}
    again = client.post("/v2/models/tiny/infer", json={"inputs": [flat]}).json()
    assert again["outputs"] == answer["outputs"]
    raw = client.post(
        "/v1/synthesize",
        files={"label": png(np.array(label["data"], np.uint8))},
        headers={"Accept": "application/octet-stream"},
    )
    assert bytes(image["data"]) == raw.content


LABEL = {"name": "label", "shape": [1, 2], "datatype": "UINT8", "data": [1, 8]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "EOF"),
        (b"[]", "body: "),
        (b"{}", "inputs: is missing"),
        ({"inputs": [LABEL | {"data": [1, 256]}]}, "whole numbers that fit UINT8"),
        ({"inputs": [LABEL | {"data": [1, 0.5]}]}, "whole numbers that fit UINT8"),
        ({"inputs": [LABEL | {"data": [[1], [1, 2]]}]}, "whole numbers that fit UINT8"),
        ({"inputs": [LABEL | {"data": []}]}, "whole numbers that fit UINT8"),
        ({"inputs": [LABEL | {"data": [1]}]}, "is 2 bytes, not 1"),
        ({"inputs": [LABEL | {"shape": [1 << 62, 1 << 62]}]}, "not 2"),
        ({"inputs": [LABEL | {"shape": [-1, -2]}]}, "its shape is"),
        ({"inputs": [LABEL | {"parameters": {"binary_data_size": 9}}]}, "data is left out"),
        ({"inputs": [LABEL | {"parameters": {"shared_memory_region": "x"}}]}, "not known here"),
        ({"inputs": [LABEL, LABEL]}, "more than once"),
        ({"inputs": [LABEL], "outputs": [{"name": "mask"}]}, "there is only 'image'"),
        ({"inputs": [LABEL], "parameters": {"format": "png"}}, "binary_data"),
        ({"inputs": [LABEL], "parameters": {"seed": None}}, "seed"),
        ({"inputs": [LABEL | {"shape": [500, 400], "data": [1] * 200_000}]}, "binary_data"),
    ],
)
def test_wrong_bodies(client: httpx.Client, body: Any, words: str) -> None:
    """Whatever is wrong with a body is a 422 that says so."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client.post("/v2/models/tiny/infer", content=content)
    assert response.status_code == 422
    assert words in response.json()["error"]


@pytest.mark.parametrize("length", ["x", "-1", "999", "1" * 5000])
def test_wrong_header_length(client: httpx.Client, length: str) -> None:
    """The end of the JSON lies within the body."""
    headers = {"Inference-Header-Content-Length": length}
    response = client.post("/v2/models/tiny/infer", content=b"{}", headers=headers)
    assert response.status_code == 422
    assert "Inference-Header-Content-Length" in response.json()["error"]
