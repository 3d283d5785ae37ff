"""A real browser in front of a real server with the bundled model."""

from __future__ import annotations

import base64
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from model.scenes import Scene, draw_scene
from tests.service.conftest import Server, start_server, stop_server

CHROMIUM = Path("/usr/bin/chromium")
SIDE = 128
VIEWPORT = {"width": 1280, "height": 720}
WAIT_S = 60.0

# Arrays cross the border to Python as base64: lists of numbers would take seconds.
_SCENE = """() => {
  const text = (plane) => {
    const bytes = new Uint8Array(plane.buffer);
    let letters = "";
    for (let i = 0; i < bytes.length; i += 4096)
      letters += String.fromCharCode(...bytes.subarray(i, i + 4096));
    return btoa(letters);
  };
  const { label, instance, ...rest } = hdsynth.scene();
  const photo = hdsynth.photo();
  return { ...rest, label: text(label), instance: text(instance), photo: photo && text(photo) };
}"""


@dataclass(frozen=True)
class Seen:
    """What the studio holds: maps, styles, loose objects and the photograph."""

    label: NDArray[np.uint8]
    instance: NDArray[np.uint16]
    options: dict[str, Any]
    objects: list[dict[str, Any]]
    photo: NDArray[np.uint8]
    """(H, W, 3)."""

    def box(self, instance: int, grown: int = 0) -> tuple[slice, slice]:
        """Rows and columns around an instance."""
        rows, columns = np.nonzero(self.instance == instance)
        return (
            slice(max(0, int(rows.min()) - grown), int(rows.max()) + 1 + grown),
            slice(max(0, int(columns.min()) - grown), int(columns.max()) + 1 + grown),
        )

    def same_as(self, other: Seen) -> bool:
        """Whether maps, styles and photograph are the same to the last bit."""
        return (
            np.array_equal(self.label, other.label)
            and np.array_equal(self.instance, other.instance)
            and self.options == other.options
            and np.array_equal(self.photo, other.photo)
        )


class Studio:
    """The studio in a browser's page."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, scene: Scene) -> Seen:
        """Open a scene by an address that holds it."""
        self.page.goto(f"{self.url}/studio#{fragment(scene)}")
        return self.seen()

    def settle(self) -> None:
        """Wait until the photograph shows the scene as it is."""
        self.until("() => window.hdsynth?.isSettled ?? false")

    def until(self, condition: str) -> None:
        """Wait until an expression is true; the page's policy forbids Playwright's own way."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"never came true: {condition}; errors: {self.errors}")

    def seen(self) -> Seen:
        """Wait for the photograph and return everything."""
        self.settle()
        state = self.page.evaluate(_SCENE)
        shape = state["height"], state["width"]

        def plane(name: str, dtype: type) -> NDArray[Any]:
            return np.frombuffer(base64.b64decode(state[name]), dtype)

        return Seen(
            plane("label", np.uint8).reshape(shape),
            plane("instance", np.uint16).reshape(shape),
            state["options"],
            state["objects"],
            plane("photo", np.uint8).reshape(*shape, 4)[..., :3],
        )

    @property
    def selected(self) -> int | None:
        """The instance that is selected."""
        selected: int | None = self.page.evaluate("() => hdsynth.selected")
        return selected

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where the middle of a pixel of the scene is on the page."""
        point = self.page.evaluate(f"() => hdsynth.toPage({x + 0.5}, {y + 0.5})")
        return point["x"], point["y"]

    def click(self, x: float, y: float) -> None:
        """Click a pixel of the scene."""
        self.page.mouse.click(*self.at(x, y))

    def drag(self, *points: tuple[float, float]) -> None:
        """Press at the first pixel, move over the others, let go."""
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=4)
        self.page.mouse.up()

    def key(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def tab(self, name: str) -> None:
        """Show a tab of the panel."""
        self.page.get_by_role("tab", name=name, exact=True).click()

    def button(self, name: str) -> Locator:
        """Return a button by its name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def select(self, instance: int, seen: Seen) -> None:
        """Click a pixel of an instance with the tool for that."""
        self.key("v")
        rows, columns = np.nonzero(seen.instance == instance)
        middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
        self.click(int(columns[middle]), int(rows[middle]))
        assert self.selected == instance

    def open_files(self, *files: Path) -> None:
        """Choose files as the button Open does."""
        self.page.get_by_label("Files of a scene").set_input_files(list(files))

    def saved(self, start: Callable[[], None], path: Path) -> Path:
        """Do what starts a download; return the file."""
        with self.page.expect_download() as download:
            start()
        download.value.save_as(path)
        return path


def fragment(scene: Scene) -> str:
    """Write a scene as the studio's permanent addresses do."""
    height, width = scene.label.shape
    head = json.dumps({"width": width, "height": height, "styles": {}}).encode()
    ids = scene.instance.astype(np.uint16)
    planes = [scene.label.astype(np.uint8), ids.astype(np.uint8), (ids >> 8).astype(np.uint8)]
    packed = struct.pack("<I", len(head)) + head + b"".join(plane.tobytes() for plane in planes)
    return "scene=" + base64.urlsafe_b64encode(zlib.compress(packed)).decode().rstrip("=")


@pytest.fixture(scope="session")
def studio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the bundled model."""
    server = start_server(tmp_path_factory.mktemp("studio") / "stderr.log")
    yield server
    stop_server(server)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window, closed after each file: Playwright's loop blocks any other."""
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def studio(browser: Browser, studio_server: Server) -> Iterator[Studio]:
    """The studio as a new visitor finds it."""
    context = browser.new_context(viewport=VIEWPORT)  # type: ignore[arg-type]
    studio = Studio(context.new_page(), studio_server.url)
    yield studio
    context.close()
    assert studio.errors == []


@pytest.fixture(scope="session")
def scene() -> Scene:
    """A small street scene with several windows."""
    return draw_scene(SIDE, SIDE, seed=4)
