import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from service.errors import REASONS


class Page(HTMLParser):
    """Collects what a page loads, and what its content security policy would block."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address or the inline code of a tag."""
        given = dict(attrs)
        self.loads += [given[a] or "" for a in ("src", "href") if a in given and tag != "a"]
        self.inline += [a for a in given if a.startswith("on") or a == "style"]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in given) else []
        self.ids |= {given["id"] or ""} if "id" in given else set()


@pytest.mark.parametrize("address", ["/", "/docs"])
def test_page_loads_from_this_server_alone(client: httpx.Client, address: str) -> None:
    """Everything that a page loads is here, nothing is inline, and the policy says the same."""
    response = client.get(address)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    page = Page(response.text)
    assert page.inline == []
    assert len(page.loads) >= 3
    for load in page.loads:
        answer = client.get(urljoin(address, load))
        assert answer.status_code == 200, load
        assert not re.match(r"\w+:|//", load)


def test_page_script_finds_what_it_looks_for(client: httpx.Client) -> None:
    """Every element that the script names is on the page, and every address of it exists."""
    page = Page(client.get("/").text)
    script = client.get("/static/page.js").text
    named = set(re.findall(r'\$\("([\w-]+)"\)', script))
    assert len(named) > 10
    assert named <= page.ids
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/models", "/synthesize", "/v1/samples/{seed}/{part}.png"} <= paths.keys()
    assert 'fetch("v1/models")' in script
    assert 'request("synthesize"' in script
    assert "`v1/samples/${scene}/${part}.png`" in script


def test_every_answer_is_protected(client: httpx.Client) -> None:
    """Photographs, problems and pages alike tell browsers not to guess and not to frame."""
    for address in ("/", "/static/page.css", "/v1/models", "/nowhere"):
        headers = client.get(address).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    """The OpenAPI document."""
    loaded: dict[str, Any] = client.get("/openapi.json").json()
    return loaded


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a schema of the document that stands on its own."""
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}


def test_openapi_document_is_valid(document: dict[str, Any]) -> None:
    """The document is valid OpenAPI and lists every address of the interface."""
    validate(document)
    assert sorted(document["paths"]) == [
        "/livez",
        "/readyz",
        "/startupz",
        "/synthesize",
        "/v1/encode",
        "/v1/models",
        "/v1/models/{model}",
        "/v1/models/{model}:encode",
        "/v1/models/{model}:load",
        "/v1/models/{model}:reload",
        "/v1/models/{model}:synthesize",
        "/v1/models/{model}:unload",
        "/v1/samples/{seed}/{part}.png",
        "/v1/synthesize",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{model}",
        "/v2/models/{model}/infer",
        "/v2/models/{model}/ready",
    ]


def test_openapi_describes_how_keys_are_sent(document: dict[str, Any]) -> None:
    """The interactive documentation can send a key, which not every server wants."""
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert schemes["header"]["name"] == "X-API-Key"
    assert document["security"] == [{}, {"bearer": []}, {"header": []}]


def test_openapi_describes_the_form_and_its_answers(document: dict[str, Any]) -> None:
    """A synthesis takes a multipart form and answers with one of four formats or a problem."""
    operation = document["paths"]["/v1/synthesize"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form == {"$ref": "#/components/schemas/SynthesisForm"}
    fields = document["components"]["schemas"]["SynthesisForm"]
    assert fields["required"] == ["label"]
    assert list(fields["properties"]) == [
        "label",
        "instance",
        "style_photo",
        "options",
    ]
    responses = operation["responses"]
    assert sorted(responses["200"]["content"]) == [
        "application/octet-stream",
        "image/jpeg",
        "image/png",
        "image/webp",
    ]
    assert sorted(responses["200"]["headers"]) == [
        "ETag",
        "Server-Timing",
        "X-Cache",
        "X-Faithfulness",
        "X-Image-Height",
        "X-Image-Width",
        "X-Model-Version",
        "X-Request-Id",
    ]
    clients_fault = ["400", "401", "403", "406", "408", "413", "415", "422", "429", "499"]
    assert sorted(responses) == ["200", "304", *clients_fault, "500", "503", "504"]
    for status, response in responses.items():
        if status not in {"200", "304"}:
            assert list(response["content"]) == ["application/problem+json"]
    assert document["components"]["schemas"]["Problem"]["properties"]["reason"]["enum"] == [
        *REASONS
    ]


def test_answers_are_as_described(client: httpx.Client, document: dict[str, Any]) -> None:
    """What the server sends fits the schemas that it publishes."""
    models = client.get("/v1/models").json()
    OAS31Validator(schema(document, "ModelList")).validate(models)
    problem = client.post("/synthesize", files={"label": b""}).json()
    OAS31Validator(schema(document, "Problem")).validate(problem)
