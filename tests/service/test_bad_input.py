"""Bad input: told with a reason and the offending value, before the engine is used."""

import json
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from model.scenes import Scene
from service.errors import REASONS
from tests.service.conftest import Server, png

pytestmark = pytest.mark.usefixtures("still_serves")


def chunk(kind: bytes, data: bytes) -> bytes:
    """Build a chunk of a PNG file."""
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def bomb(side: int) -> bytes:
    """Build a small PNG file that unpacks to side x side grey pixels."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


def refusal(response: httpx.Response, reason: str) -> dict[str, Any]:
    """Check that a response is a whole problem of the reason and that no engine ran for it."""
    problem: dict[str, Any] = response.json()
    assert problem.get("reason") == reason, problem
    assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code == problem["status"] == REASONS[reason].http
    assert problem["title"] == REASONS[reason].title
    assert problem["type"] == f"urn:hdsynth:problem:{reason}"
    assert problem["instance"] == response.url.raw_path.decode()
    assert problem["request_id"] == response.headers["x-request-id"]
    # Stages are listed as they finish, also for a request that fails later.
    assert "infer" not in response.headers.get("server-timing", "")
    return problem


def pointers(problem: dict[str, Any]) -> list[str]:
    """Return the fields that a problem names."""
    return [error["pointer"] for error in problem["errors"]]


def test_truncated_png(client: httpx.Client, files: dict[str, bytes]) -> None:
    """A label map that ends early is told with the byte where it does."""
    cut = files["label"][: len(files["label"]) // 2]
    problem = refusal(client.post("/synthesize", files={"label": cut}), "INVALID_IMAGE")
    assert f"label: is cut off at byte {len(cut)}" in problem["detail"]
    assert pointers(problem) == ["#/label"]


@pytest.mark.parametrize(("channels", "name"), [(3, "RGB"), (4, "RGBA")])
def test_colours_instead_of_ids(client: httpx.Client, channels: int, name: str) -> None:
    """A colour image is told to be none of ids, and how to turn colours into ids."""
    colours = np.zeros((8, 8, channels), np.uint8)
    problem = refusal(client.post("/synthesize", files={"label": png(colours)}), "COLOUR_MAP")
    assert f"label: is a {name} PNG" in problem["detail"]


def test_label_out_of_range(client: httpx.Client, scene: Scene) -> None:
    """A class that the model does not have is told with its value and its pixel."""
    label = scene.label.copy()
    label[20, 30] = 77
    response = client.post("/synthesize", files={"label": png(label)})
    problem = refusal(response, "LABEL_OUT_OF_RANGE")
    assert "value 77 at x=30, y=20" in problem["detail"]
    assert "11 classes, 0 to 10" in problem["detail"]
    assert pointers(problem) == ["#/label"]


def test_size_mismatch(client: httpx.Client, scene: Scene) -> None:
    """Maps of different sizes are told with both sizes."""
    files = {"label": png(scene.label), "instance": png(scene.instance[:40])}
    problem = refusal(client.post("/synthesize", files=files), "SIZE_MISMATCH")
    assert "96x40" in problem["detail"]
    assert "96x80" in problem["detail"]
    assert pointers(problem) == ["#/instance"]


@pytest.mark.parametrize("field", ["label", "instance"])
def test_zero_bytes(client: httpx.Client, files: dict[str, bytes], field: str) -> None:
    """An empty file is told with the field that it was sent in."""
    response = client.post("/synthesize", files=files | {field: b""})
    problem = refusal(response, "EMPTY_UPLOAD")
    assert pointers(problem) == [f"#/{field}"]


def test_photograph_instead_of_label_map(client: httpx.Client) -> None:
    """A JPEG is told to be one."""
    response = client.post("/synthesize", files={"label": b"\xff\xd8\xff\xe0 a photograph"})
    assert "label: is JPEG" in refusal(response, "UNSUPPORTED_FORMAT")["detail"]


def peak_memory(server: Server) -> int:
    """Return the most memory that the server has ever used, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_decompression_bomb(client: httpx.Client, server: Server) -> None:
    """A small file of 400 megapixels is refused by its header, in either field."""
    packed = bomb(20000)
    assert len(packed) < 400_000
    before = peak_memory(server)
    for field in ("label", "instance"):
        files = {"label": png(np.zeros((8, 8), np.uint8))} | {field: packed}
        problem = refusal(client.post("/synthesize", files=files), "IMAGE_TOO_LARGE")
        assert f"{field}: has 20000x20000 = 400000000 pixels" in problem["detail"]
    assert peak_memory(server) - before < 64e6


def test_line_that_padding_would_blow_up(client: httpx.Client) -> None:
    """The limit holds for what the network would see: 400000x1 pixels become 400000x8."""
    line = np.zeros((1, 400_000), np.uint8)
    problem = refusal(client.post("/synthesize", files={"label": png(line)}), "IMAGE_TOO_LARGE")
    assert "400000x1 is padded to 400000x8" in problem["detail"]


def test_photograph_that_the_format_cannot_hold(client: httpx.Client) -> None:
    """WebP ends at 16383 pixels per side, which is told before the engine runs."""
    files = {"label": png(np.zeros((8, 20_000), np.uint8))}
    response = client.post("/synthesize", files=files, headers={"Accept": "image/webp"})
    problem = refusal(response, "IMAGE_TOO_LARGE")
    assert "20000x8 pixels do not fit into a webp file" in problem["detail"]


def test_missing_field(client: httpx.Client, files: dict[str, bytes]) -> None:
    """A form without a label map is told so, and a misspelt name is told too."""
    response = client.post("/synthesize", files={"lable": files["label"]})
    problem = refusal(response, "MISSING_FIELD")
    assert pointers(problem) == ["#/label", "#/lable"]


def test_unknown_and_repeated_fields(client: httpx.Client, files: dict[str, bytes]) -> None:
    """Nothing that was sent is passed over in silence."""
    response = client.post("/synthesize", files=files, data={"seed": "1"})
    assert pointers(refusal(response, "INVALID_FIELD")) == ["#/seed"]
    twice = [("label", files["label"]), ("label", files["label"])]
    response = client.post("/synthesize", files=twice)
    assert pointers(refusal(response, "INVALID_FIELD")) == ["#/label"]


def test_text_instead_of_a_file(client: httpx.Client, files: dict[str, bytes]) -> None:
    """A file name without curl's @ is told with the option that works."""
    data = {"label": "label.png"}
    response = client.post("/synthesize", files={"instance": files["instance"]}, data=data)
    assert "-F label=@label.png" in refusal(response, "INVALID_FIELD")["detail"]


def test_no_form(client: httpx.Client, files: dict[str, bytes]) -> None:
    """A body that is no multipart form is told with the type that it claims to be."""
    response = client.post("/synthesize", json={"label": "label.png"})
    assert "'application/json'" in refusal(response, "NOT_MULTIPART")["detail"]
    response = client.post("/synthesize", content=files["label"])
    refusal(response, "NOT_MULTIPART")
    refusal(client.post("/synthesize", data={"label": "1"}), "NOT_MULTIPART")


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=b"])
def test_broken_form(client: httpx.Client, content_type: str) -> None:
    """A form that cannot be taken apart is told so."""
    headers = {"Content-Type": content_type}
    response = client.post("/synthesize", content=b"no parts", headers=headers)
    refusal(response, "INVALID_MULTIPART")


def test_too_many_parts(client: httpx.Client, files: dict[str, bytes]) -> None:
    """A form of a thousand parts is refused at the first few."""
    many_files = [(f"label{i}", files["label"]) for i in range(1000)]
    refusal(client.post("/synthesize", files=many_files), "INVALID_MULTIPART")
    fields = {f"option{i}": "1" for i in range(1000)}
    refusal(client.post("/synthesize", files=files, data=fields), "INVALID_MULTIPART")


@pytest.mark.parametrize(
    ("options", "pointer", "value"),
    [
        ('{"seed": 1', "#/options", "no JSON: EOF while parsing an object at line 1 column 10"),
        ("[1]", "#/options", "no JSON object"),
        ('{"sead": 1}', "#/options/sead", "sead"),
        ('{"seed": "one"}', "#/options/seed", "'one'"),
        ('{"seed": -1}', "#/options/seed", "'-1'"),
        ('{"seed": 9007199254740992}', "#/options/seed", "'9007199254740992'"),
        ('{"seed": 1.5}', "#/options/seed", "'1.5'"),
        ('{"quality": 101}', "#/options/quality", "'101'"),
        ('{"styles": {"roof": 1}}', "#/options/styles/roof", "'roof'"),
        ('{"styles": {"1001": "red"}}', "#/options/styles/1001", "'red'"),
        ('{"class_styles": {"window": true}}', "#/options/class_styles/window", "True"),
    ],
)
def test_wrong_options(
    client: httpx.Client, files: dict[str, bytes], options: str, pointer: str, value: str
) -> None:
    """Each option is checked; the problem points at it and repeats its value."""
    response = client.post("/synthesize", files=files, data={"options": options})
    problem = refusal(response, "INVALID_OPTIONS")
    assert pointers(problem) == [pointer]
    assert value in problem["detail"]


def test_options_file_above_the_limit(client: httpx.Client, files: dict[str, bytes]) -> None:
    """Options that come as a file are bounded like those that come as text."""
    response = client.post("/synthesize", files=files | {"options": b" " * 300_000})
    assert "262144 bytes" in refusal(response, "INVALID_OPTIONS")["detail"]


@pytest.mark.parametrize(
    ("options", "reason", "words"),
    [
        ({"class_styles": {"door": 1}}, "CLASS_NOT_FOUND", "'door'"),
        ({"class_styles": {"11": 1}}, "CLASS_NOT_FOUND", "'11'"),
        ({"class_styles": {"window": 4}}, "STYLE_NOT_FOUND", "no style 4; its class has 4"),
        ({"class_styles": {"window": -1}}, "STYLE_NOT_FOUND", "no style -1"),
        ({"styles": {"9999": 1}}, "STYLE_NOT_FOUND", "instance 9999"),
        ({"class_styles": {"window": [0.5]}}, "STYLE_INVALID", "[0.5]"),
        ({"class_styles": {"window": [0, 0, 1.5]}}, "STYLE_INVALID", "1.5"),
    ],
)
def test_styles_that_the_model_has_not(
    client: httpx.Client, files: dict[str, bytes], options: Any, reason: str, words: str
) -> None:
    """A style or class that does not exist is told with those that do."""
    data = {"options": json.dumps(options)}
    problem = refusal(client.post("/synthesize", files=files, data=data), reason)
    assert words in problem["detail"]


def test_thousands_of_faults_make_a_short_answer(
    client: httpx.Client, files: dict[str, bytes]
) -> None:
    """The answer to a flood of wrong options lists the first of them."""
    data = {"options": json.dumps({"styles": {str(i): "?" for i in range(5000)}})}
    response = client.post("/synthesize", files=files, data=data)
    assert len(refusal(response, "INVALID_OPTIONS")["errors"]) == 20


def test_upload_above_the_limit(client: httpx.Client) -> None:
    """A body is refused by the length that it announces."""
    body = bytes(17 << 20)
    response = client.post("/synthesize", files={"label": body})
    problem = refusal(response, "UPLOAD_TOO_LARGE")
    assert "the limit is 16777216" in problem["detail"]


def test_upload_above_the_limit_without_length(client: httpx.Client, server: Server) -> None:
    """A body that announces no length is counted while it arrives, and not kept."""

    def endless() -> Iterable[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="label"; filename="l.png"\r\n\r\n'
        for _ in range(4096):
            yield bytes(1 << 16)

    before = peak_memory(server)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = client.post("/synthesize", content=endless(), headers=headers)
    refusal(response, "UPLOAD_TOO_LARGE")
    assert peak_memory(server) - before < 64e6


def test_no_acceptable_format(client: httpx.Client, files: dict[str, bytes]) -> None:
    """A format that is not made is told with those that are."""
    response = client.post("/synthesize", files=files, headers={"Accept": "image/avif"})
    problem = refusal(response, "NOT_ACCEPTABLE")
    assert "'image/avif'" in problem["detail"]
    assert "image/png, image/jpeg, image/webp" in problem["detail"]


def test_wrong_addresses(client: httpx.Client) -> None:
    """Unknown addresses and methods are problems too."""
    refusal(client.get("/v2/synthesize"), "NOT_FOUND")
    response = client.get("/synthesize")
    assert "use POST" in refusal(response, "METHOD_NOT_ALLOWED")["detail"]
    assert response.headers["allow"] == "POST"
    assert pointers(refusal(client.get("/v1/samples/-1/label.png"), "INVALID_FIELD")) == ["#/seed"]


def test_address_with_a_line_break_stays_one_line_of_the_log(
    client: httpx.Client, server: Server
) -> None:
    """Nobody can write lines of their own into the log."""
    refusal(client.get("/x%0aforged"), "NOT_FOUND")
    assert "\nforged" not in server.log.read_text()
