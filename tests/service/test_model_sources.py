"""Bundles from a real web server, through the library and the command line."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import cli
from model.bundle import load_bundle
from service.model_sources import ModelSource, SourceError, bundle_folder

NO_HASH = "0" * 64


@dataclass
class Web:
    """A web server and what it was asked for."""

    url: str
    folder: Path
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server for the files of a folder, with neither ranges nor TLS."""
    folder = tmp_path / "web"
    folder.mkdir()
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            asked.append(f"{self.command} {self.path}")

    handler = functools.partial(Handler, directory=str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Web(f"http://127.0.0.1:{server.server_port}", folder, asked)
        server.shutdown()
        thread.join()


def hdsynth(*arguments: object) -> Any:
    """Run the command line."""
    return CliRunner().invoke(cli, [*map(str, arguments)])


def packed(bundle: Path, web: Web) -> str:
    """Put an archive on the web server; return its SHA-256."""
    result = hdsynth("bundle", "pack", bundle, "-o", web.folder / "tiny.tar")
    assert result.exit_code == 0, result.output
    return str(result.output.strip())


def test_bundle_from_the_web(tiny_bundle: Path, tmp_path: Path, web: Web) -> None:
    """An address with a hash is fetched once; one without is fetched every time."""
    digest = packed(tiny_bundle, web)
    url, cache = f"{web.url}/tiny.tar", tmp_path / "cache"
    source = ModelSource.parse(f"mine={url}#sha256={digest.upper()}")
    assert source == ModelSource(url, "mine", digest)
    for _ in range(2):
        folder = bundle_folder(source, cache)
        assert folder == cache / digest
        assert load_bundle(folder).version == load_bundle(tiny_bundle).version
    downloads = [line for line in web.asked if line.startswith("GET")]
    assert len(downloads) == 1
    assert bundle_folder(ModelSource.parse(url), cache) == folder
    assert [path.name for path in cache.iterdir()] == [digest]


@pytest.mark.parametrize(
    ("file", "digest", "words"),
    [("tiny.tar", NO_HASH, "its SHA-256 is .*, not 0"), ("none.tar", "", "cannot be fetched")],
)
def test_what_cannot_be_fetched(
    tiny_bundle: Path, tmp_path: Path, web: Web, file: str, digest: str, words: str
) -> None:
    """Another hash, or no such file, is told with the address and leaves nothing behind."""
    packed(tiny_bundle, web)
    source = ModelSource(f"{web.url}/{file}", "", digest)
    with pytest.raises(SourceError, match=rf"/{file}: {words}"):
        bundle_folder(source, tmp_path / "cache")
    assert [*(tmp_path / "cache").iterdir()] == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/models/a", ModelSource("/models/a")),
        ("./a=b", ModelSource("./a=b")),
        ("x.y-1=a/b", ModelSource("a/b", "x.y-1")),
        ("https://h/a.tar?x=1", ModelSource("https://h/a.tar?x=1")),
        (f"s3://b/a.tar#sha256={'a' * 64}", ModelSource("s3://b/a.tar", "", "a" * 64)),
    ],
)
def test_sources_as_they_are_written(text: str, wanted: ModelSource) -> None:
    """A name stands before the first equals sign of what is no address."""
    assert ModelSource.parse(text) == wanted


@pytest.mark.parametrize("text", ["", "a#md5=1", "a#sha256=12", "#sha256="])
def test_what_is_no_source(text: str) -> None:
    """Anything else is refused with what to write."""
    with pytest.raises(SourceError, match=r"write|64 hex digits"):
        ModelSource.parse(text)


def test_passwords_do_not_show() -> None:
    """Messages and the log have the address without what is secret in it."""
    source = ModelSource.parse("https://user:secret@host/a.tar?signature=secret")
    assert str(source) == "https://host/a.tar"


def test_fetch_command(tiny_bundle: Path, plain_bundle: Path, tmp_path: Path, web: Web) -> None:
    """A bundle is fetched into a folder, replacing one that is there, and nothing else."""
    digest = packed(plain_bundle, web)
    output = tmp_path / "models" / "bundle"
    command = ("bundle", "fetch", f"{web.url}/tiny.tar", "-o", output, "--sha256")
    for _ in range(2):
        result = hdsynth(*command, digest)
        assert result.exit_code == 0, result.output
        assert load_bundle(output).version == load_bundle(plain_bundle).version
        assert [path.name for path in output.parent.iterdir()] == ["bundle"]
    assert hdsynth(*command, packed(tiny_bundle, web)).exit_code == 0
    assert load_bundle(output).version == load_bundle(tiny_bundle).version
    result = hdsynth(*command, NO_HASH)
    assert result.exit_code == 3
    assert "its SHA-256 is" in result.output
    assert load_bundle(output).version == load_bundle(tiny_bundle).version
    other = tmp_path / "web"
    result = hdsynth("bundle", "fetch", f"{web.url}/tiny.tar", "-o", other)
    assert result.exit_code == 3
    assert "holds something else than a bundle" in result.output
