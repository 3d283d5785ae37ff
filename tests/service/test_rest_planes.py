"""REST beyond files: raw planes in, raw pixels out, models by name, deadlines, repetition."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from model.scenes import Scene
from service.errors import REASONS
from tests.service.conftest import Server, pixels, start_server, stop_server


def planes(scene: Scene, encoding: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Write both maps of a scene as planes; return them and the options that describe them."""
    arrays = {"label": scene.label.astype("<u2"), "instance": scene.instance.astype("<i4")}
    types = {"label": "uint16", "instance": "int32"}
    files = {name: array.tobytes() for name, array in arrays.items()}
    if encoding == "raw_zlib":
        files = {name: zlib.compress(data, 1) for name, data in files.items()}
    height, width = scene.label.shape
    options = {
        name: {"encoding": encoding, "element_type": kind, "width": width, "height": height}
        for name, kind in types.items()
    }
    return files, options


def post(
    client: httpx.Client, files: dict[str, bytes], options: dict[str, Any], **headers: str
) -> httpx.Response:
    """Ask for a photograph."""
    data = {"options": json.dumps(options)}
    return client.post("/v1/synthesize", files=files, data=data, headers=headers)


@pytest.mark.parametrize("encoding", ["raw", "raw_zlib"])
def test_planes_give_the_photograph_of_the_files(
    client: httpx.Client, files: dict[str, bytes], scene: Scene, encoding: str
) -> None:
    """Numbers need no file around them."""
    raw, options = planes(scene, encoding)
    response = post(client, raw, options)
    assert response.status_code == 200
    assert response.content == post(client, files, {}).content


def test_raw_photograph(client: httpx.Client, files: dict[str, bytes]) -> None:
    """Raw pixels are those of the PNG, and headers tell their size."""
    response = post(client, files, {}, Accept="application/octet-stream")
    assert response.headers["content-type"] == "application/octet-stream"
    size = int(response.headers["x-image-height"]), int(response.headers["x-image-width"])
    assert size == (80, 96)
    plain = np.frombuffer(response.content, np.uint8).reshape(*size, 3)
    assert np.array_equal(plain, pixels(post(client, files, {}).content))


@pytest.mark.parametrize(
    ("change", "reason", "pointer"),
    [
        ({"encoding": "rle"}, "INVALID_OPTIONS", "#/options/label/encoding"),
        ({"element_type": "float32"}, "INVALID_OPTIONS", "#/options/label/element_type"),
        ({"width": 0}, "INVALID_OPTIONS", "#/options/label/width"),
        ({"width": 97}, "INVALID_IMAGE", "#/label"),
        ({"element_type": "uint8"}, "INVALID_IMAGE", "#/label"),
        ({"width": 1 << 30, "height": 1 << 30}, "IMAGE_TOO_LARGE", "#/label"),
        ({"encoding": "raw"}, "INVALID_IMAGE", "#/label"),
    ],
)
def test_wrong_planes(
    client: httpx.Client, scene: Scene, change: dict[str, Any], reason: str, pointer: str
) -> None:
    """A plane that is not what its description says is refused."""
    raw, options = planes(scene, "raw_zlib")
    options["label"] |= change
    problem = post(client, raw, options).json()
    assert (problem["status"], problem["reason"]) == (REASONS[reason].http, reason)
    assert problem["errors"][0]["pointer"] == pointer


def test_plane_that_inflates_beyond_its_size(client: httpx.Client) -> None:
    """A deflated plane is unpacked to the size that it claims, and no further."""
    bomb = zlib.compress(bytes(256 << 20), 9)
    plane = {"encoding": "raw_zlib", "width": 8, "height": 8}
    problem = post(client, {"label": bomb}, {"label": plane}).json()
    assert problem["reason"] == "INVALID_IMAGE"
    assert "need 64 bytes" in problem["detail"]


def test_model_by_name(client: httpx.Client, files: dict[str, bytes]) -> None:
    """The model can stand in the address; one that is not served is told."""
    named = client.post("/v1/models/tiny:synthesize", files=files)
    assert named.content == post(client, files, {}).content
    assert client.get("/v1/models/tiny").json() == client.get("/v1/models").json()["models"][0]
    for response in (
        client.post("/v1/models/none:synthesize", files=files),
        client.get("/v1/models/none"),
    ):
        assert (response.status_code, response.json()["reason"]) == (404, "MODEL_NOT_FOUND")


def test_deadline(client: httpx.Client, files: dict[str, bytes]) -> None:
    """A photograph that comes in time is sent; one that cannot is not made."""
    assert post(client, files, {"deadline_ms": 60_000}).status_code == 200
    assert post(client, files, {"deadline_ms": None}).status_code == 200
    response = post(client, files, {"deadline_ms": 1})
    assert response.json()["reason"] in {"DEADLINE_EXCEEDED", "DEADLINE_UNREACHABLE"}
    assert post(client, files, {"deadline_ms": 0}).json()["reason"] == "INVALID_OPTIONS"


def test_photograph_that_the_client_has(client: httpx.Client, files: dict[str, bytes]) -> None:
    """An ETag names the content: sent back, it saves the body; another photograph has another."""
    first = post(client, files, {})
    tag = first.headers["etag"]
    for given in (tag, f'"other", W/{tag}'):
        again = post(client, files, {}, **{"If-None-Match": given})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    other = post(client, files, {"seed": 9}, **{"If-None-Match": tag})
    assert other.status_code == 200
    assert other.headers["etag"] != tag


@pytest.fixture(scope="module")
def keeping(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps photographs."""
    log = tmp_path_factory.mktemp("keeping") / "stderr.log"
    server = start_server(log, model=tiny_bundle, buckets="64x64", result_cache_mb=8)
    yield server
    stop_server(server)


def test_repeated_request_is_not_made_again(
    keeping: Server, files: dict[str, bytes], scene: Scene
) -> None:
    """The same request gets the same photograph without the engine; any other one is made."""
    with httpx.Client(base_url=keeping.url, timeout=60) as client:
        first = post(client, files, {"seed": 3})
        assert first.headers["x-cache"] == "miss"
        again = post(client, files, {"seed": 3})
        assert again.headers["x-cache"] == "hit"
        assert "infer" not in again.headers.get("server-timing", "")
        assert again.content == first.content
        assert again.headers["etag"] == first.headers["etag"]
        raw, options = planes(scene, "raw")
        for others in (post(client, files, {"seed": 4}), post(client, raw, options | {"seed": 3})):
            assert others.headers["x-cache"] == "miss"
        jpeg = post(client, files, {"seed": 3}, Accept="image/jpeg")
        assert (jpeg.headers["x-cache"], jpeg.headers["content-type"]) == ("miss", "image/jpeg")
        metrics = httpx.get(f"{keeping.metrics_url}/metrics").text
    assert 'hdsynth_result_cache_total{outcome="hit"} 1.0' in metrics
