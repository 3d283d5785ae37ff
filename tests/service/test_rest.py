import io
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from model.bundle import load_bundle
from model.scenes import CLASSES, PALETTE, Scene, draw_scene
from tests.service.conftest import Server, pixels, png

Synthesize = Callable[..., httpx.Response]


@pytest.fixture
def synthesize(client: httpx.Client, files: dict[str, bytes]) -> Synthesize:
    """Ask for the photograph of the scene with some options."""

    def call(**options: Any) -> httpx.Response:
        response = client.post(
            "/synthesize", files=files, data={"options": json.dumps(options)} if options else {}
        )
        assert response.status_code == 200, response.text
        return response

    return call


@pytest.mark.parametrize(
    ("accept", "kind"), [("image/png", "PNG"), ("image/jpeg", "JPEG"), ("image/webp", "WEBP")]
)
def test_photograph_comes_in_the_format_asked_for(
    client: httpx.Client, files: dict[str, bytes], accept: str, kind: str
) -> None:
    """Each format holds a photograph of the label map's size."""
    response = client.post("/v1/synthesize", files=files, headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == accept
    image = Image.open(io.BytesIO(response.content))
    assert (image.format, image.mode, image.size) == (kind, "RGB", (96, 80))
    assert np.asarray(image).std() > 5


def test_png_is_the_default(client: httpx.Client, files: dict[str, bytes]) -> None:
    """A client that accepts everything, as curl does, gets a lossless photograph."""
    for address in ("/synthesize", "/v1/synthesize"):
        response = client.post(address, files=files, headers={"Accept": "*/*"})
        assert response.headers["content-type"] == "image/png"
        assert response.headers["vary"] == "Accept"


def test_quality_trades_bytes(client: httpx.Client, files: dict[str, bytes]) -> None:
    """A lower quality gives a smaller JPEG."""
    sizes = [
        len(
            client.post(
                "/synthesize",
                files=files,
                data={"options": json.dumps({"quality": quality})},
                headers={"Accept": "image/jpeg"},
            ).content
        )
        for quality in (20, 95)
    ]
    assert sizes[0] < 0.6 * sizes[1]


def test_answer_tells_request_model_and_time(synthesize: Synthesize, server: Server) -> None:
    """The headers name the request, the model's version and each stage's milliseconds."""
    headers = synthesize().headers
    assert re.fullmatch(r"[0-9a-f]{32}", headers["x-request-id"])
    assert server.record(headers["x-request-id"])["status"] == 200
    assert re.fullmatch(r"[0-9a-f]{12}", headers["x-model-version"])
    stage = r"{};dur=\d+\.\d"
    stages = ", ".join(stage.format(name) for name in ("decode", "queue", "infer", "encode"))
    assert re.fullmatch(stages, headers["server-timing"])


@pytest.mark.parametrize(
    ("given", "kept"), [("trace-7f/3a.9", True), ("a b", False), ("x" * 129, False), ("é", False)]
)
def test_request_id_of_the_caller(client: httpx.Client, given: str, kept: bool) -> None:
    """A sane id is echoed; any other is replaced."""
    response = client.get("/livez", headers=[(b"X-Request-Id", given.encode())])
    assert (response.headers["x-request-id"] == given) is kept


def test_same_seed_same_photograph(synthesize: Synthesize) -> None:
    """The seed alone decides the styles: 0 where none is given."""
    assert synthesize(seed=5).content == synthesize(seed=5).content
    assert synthesize(seed=5).content != synthesize(seed=6).content
    assert synthesize().content == synthesize(seed=0).content


def test_options_may_be_a_file(
    client: httpx.Client, files: dict[str, bytes], synthesize: Synthesize
) -> None:
    """Browsers and generated clients send JSON as a file."""
    response = client.post("/synthesize", files=files | {"options": b'{"seed": 5}'})
    assert response.content == synthesize(seed=5).content


def test_style_of_one_instance_changes_that_instance(synthesize: Synthesize, scene: Scene) -> None:
    """Another style for one window changes its pixels far more than the rest."""
    window = next(i for i in np.unique(scene.instance) if i // 1000 == CLASSES.index("window"))
    photos = [pixels(synthesize(styles={str(window): k}).content) for k in (0, 1)]
    change = np.abs(photos[0].astype(float) - photos[1]).mean(axis=2)
    inside = scene.instance == window
    assert change[inside].mean() > 4 * change[~inside].mean()


def test_class_style_is_the_style_of_each_of_its_instances(
    synthesize: Synthesize, scene: Scene
) -> None:
    """A class can be named or numbered, and an instance's own style goes before its class's."""
    window = CLASSES.index("window")
    instances = [int(i) for i in np.unique(scene.instance) if i // 1000 == window]
    one_by_one = synthesize(styles={str(i): 2 for i in instances}).content
    assert synthesize(class_styles={"window": 2}).content == one_by_one
    assert synthesize(class_styles={str(window): 2}).content == one_by_one
    styles = {str(i): 2 for i in instances}
    assert synthesize(class_styles={"window": 3}, styles=styles).content == one_by_one


def test_style_code_equals_the_style_it_spells_out(
    synthesize: Synthesize, tiny_bundle: Any
) -> None:
    """A style given by its numbers gives the same photograph as the style given by its number."""
    window = CLASSES.index("window")
    code = load_bundle(tiny_bundle).styles[window][1]
    spelled = synthesize(class_styles={"window": [float(value) for value in code]})
    assert spelled.content == synthesize(class_styles={"window": 1}).content


def test_label_map_alone_is_enough(client: httpx.Client, files: dict[str, bytes]) -> None:
    """Without an instance map connected regions are the objects."""
    response = client.post("/synthesize", files={"label": files["label"]})
    assert response.status_code == 200
    assert pixels(response.content).shape == (80, 96, 3)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (65, 33), (127, 81)])
def test_odd_sizes_come_back_unchanged(client: httpx.Client, size: tuple[int, int]) -> None:
    """The photograph has the label map's size, whatever the network needs inside."""
    width, height = size
    big = draw_scene(128, 96, seed=2)
    files = {
        "label": png(big.label[:height, :width]),
        "instance": png(big.instance[:height, :width]),
    }
    response = client.post("/synthesize", files=files)
    assert response.status_code == 200
    assert pixels(response.content).shape == (height, width, 3)


def test_callers_at_once_get_what_each_gets_alone(
    synthesize: Synthesize, client: httpx.Client
) -> None:
    """Twelve concurrent requests of different seeds do not mix."""
    alone = [synthesize(seed=seed).content for seed in range(12)]
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda seed: synthesize(seed=seed).content, range(12)))
    assert together == alone


def test_models_tell_what_a_caller_needs(client: httpx.Client, tiny_bundle: Any) -> None:
    """The list names classes, colours, styles, sizes, the engine and its parity."""
    (model,) = client.get("/v1/models").json()["models"]
    bundle = load_bundle(tiny_bundle)
    assert (model["name"], model["version"]) == ("tiny", bundle.version)
    assert model["engine"] in {"openvino CPU float32", "onnx CPU float32"}  # as is installed
    (recorded,) = (
        e.parity
        for e in bundle.engines
        if (e.backend, "float32") == (model["engine"].split()[0], e.precision)
    )
    assert model["parity"]["within_one"] == recorded.within_one
    assert tuple(entry["name"] for entry in model["classes"]) == CLASSES
    assert tuple(tuple(entry["colour"]) for entry in model["classes"]) == PALETTE
    assert [entry["styles"] for entry in model["classes"]] == [0] + [4] * 10
    assert model["size"] == {"multiple": 4, "minimum": 8, "max_pixels": 2097152, "trained": None}
    assert model["samples"] is True


def test_sample_scene_goes_straight_back_in(client: httpx.Client) -> None:
    """The maps of a sample scene are what an upload must be, and show the scene of their seed."""
    maps = {p: client.get(f"/v1/samples/3/{p}.png").content for p in ("label", "instance")}
    scene = draw_scene(512, 512, seed=3)
    label = Image.open(io.BytesIO(maps["label"]))
    assert np.array_equal(np.asarray(label), scene.label)
    assert (label.getpalette() or [])[:33] == [level for colour in PALETTE for level in colour]
    assert np.array_equal(pixels(maps["instance"]), scene.instance)
    assert client.post("/synthesize", files=maps).status_code == 200


def test_health(client: httpx.Client) -> None:
    """A warmed-up server is alive and ready."""
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
