"""The studio as a whole: work is kept, files and addresses hold it, everybody can use it."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from model.scenes import CLASSES, PALETTE, Scene
from service.auth import new_key
from tests.service.conftest import Server, png, start_server, stop_server
from tests.studio.conftest import SIDE, VIEWPORT, Studio, fragment

SOURCES = Path(__file__).parents[2] / "studio"
BUILT = Path(__file__).parents[2] / "service" / "static" / "studio"
AXE = SOURCES / "node_modules" / "axe-core" / "axe.min.js"


def test_work_survives_undo_reload_and_a_file(
    studio: Studio, scene: Scene, browser: Browser, tmp_path: Path
) -> None:
    """After undo all the way, redo, a reload, and in another browser, every bit is the same."""
    first = studio.open(scene)
    studio.key("b", "0")
    studio.drag((15, 10), (50, 14))
    painted = studio.seen()
    window = int(first.instance[first.label == CLASSES.index("window")][0])
    studio.select(window, painted)
    studio.page.get_by_label("Class", exact=True).select_option("shop")
    studio.settle()
    studio.page.get_by_role("radio", name="Style 3", exact=True).click()
    studio.settle()
    studio.tab("Add")
    studio.button("Add car 1").click()
    last = studio.seen()
    assert len(last.objects) == 1

    steps = 0
    while studio.button("Undo").is_enabled():
        studio.key("Control+z")
        steps += 1
    assert studio.seen().same_as(first)
    studio.key(*["Control+Shift+z"] * steps)
    assert studio.button("Redo").is_disabled()
    assert studio.seen().same_as(last)

    file = studio.saved(lambda: studio.key("Control+s"), tmp_path / "scene.zip")
    studio.page.wait_for_timeout(600)  # the time after which the browser's copy is written
    studio.page.reload()
    kept = studio.seen()
    assert kept.same_as(last)
    assert kept.objects == last.objects

    context = browser.new_context(viewport=VIEWPORT)  # type: ignore[arg-type]
    other = Studio(context.new_page(), studio.url)
    other.open(Scene(scene.label * 0, scene.instance * 0))
    other.open_files(file)
    other.until("() => hdsynth.scene().objects.length === 1")
    reopened = other.seen()
    context.close()
    assert reopened.same_as(last)
    assert reopened.objects == last.objects


def test_saved_maps_are_what_the_server_takes(studio: Studio, scene: Scene, tmp_path: Path) -> None:
    """The files of a saved scene, sent as they are, give the photograph that was seen."""
    seen = studio.open(scene)
    file = studio.saved(lambda: studio.key("Control+s"), tmp_path / "scene.zip")
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    label, instance = (Image.open(io.BytesIO(parts[f"{n}.png"])) for n in ("label", "instance"))
    assert (label.mode, np.asarray(instance).dtype.name) == ("P", "uint16")
    assert np.array_equal(np.asarray(label), seen.label)
    assert np.array_equal(np.asarray(instance), seen.instance)
    answer = httpx.post(
        f"{studio.url}/v1/synthesize",
        files={"label": parts["label.png"], "instance": parts["instance.png"]},
        data={"options": parts["styles.json"].decode()},
        timeout=60,
    )
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), seen.photo)


def palette_png(scene: Scene) -> bytes:
    """Write a label map with 4 bits per pixel and a palette."""
    picture = Image.fromarray(scene.label)
    picture.putpalette([level for colour in PALETTE for level in colour])
    stream = io.BytesIO()
    picture.save(stream, "PNG", bits=4)
    return stream.getvalue()


def colour_png(scene: Scene) -> bytes:
    """Write a label map in the colours of its classes."""
    return png(np.array(PALETTE, np.uint8)[scene.label])


@pytest.mark.parametrize("write", [palette_png, colour_png, lambda s: png(s.label)])
def test_open_maps_of_every_kind(
    studio: Studio, scene: Scene, tmp_path: Path, write: object
) -> None:
    """Palettes, colours of the classes and plain numbers are read alike."""
    studio.open(Scene(scene.label[:64, :64], scene.instance[:64, :64]))
    (tmp_path / "label.png").write_bytes(write(scene))  # type: ignore[operator]
    (tmp_path / "ids.png").write_bytes(png(scene.instance))
    studio.open_files(tmp_path / "label.png", tmp_path / "ids.png")
    studio.until(f"() => hdsynth.scene().width === {SIDE}")
    seen = studio.seen()
    assert np.array_equal(seen.label, scene.label)
    assert np.array_equal(seen.instance, scene.instance)


def test_maps_that_cannot_be_used_are_explained(
    studio: Studio, scene: Scene, tmp_path: Path
) -> None:
    """What is wrong is said, and the scene stays as it was."""
    before = studio.open(scene)
    wrong = {
        "a photograph.png": (png(before.photo), "is a colour picture"),
        "other classes.png": (png(scene.label + 100), "holds class 1"),
        "notes.txt": (b"no map", "neither a PNG map"),
    }
    alert = studio.page.get_by_role("alert")
    for name, (content, words) in wrong.items():
        (tmp_path / name).write_bytes(content)
        studio.open_files(tmp_path / name)
        alert.filter(has_text=words).wait_for()
    assert studio.seen().same_as(before)


def test_address_holds_the_scene(studio: Studio, scene: Scene, browser: Browser) -> None:
    """Whoever opens the address that is shared sees the same, styles included."""
    studio.open(scene)
    studio.tab("Scene")
    studio.button("Night windows").click()
    seen = studio.seen()
    studio.button("Share").click()
    address = studio.page.get_by_label("To copy").input_value()
    assert len(address) < 32_000
    context = browser.new_context(viewport=VIEWPORT)  # type: ignore[arg-type]
    other = Studio(context.new_page(), studio.url)
    other.page.goto(address)
    assert other.seen().same_as(seen)
    context.close()


@pytest.mark.parametrize(
    ("name", "command"), [("curl", ["bash", "snippet"]), ("Python", [sys.executable, "snippet"])]
)
def test_snippet_makes_the_same_photograph(
    studio: Studio, scene: Scene, tmp_path: Path, name: str, command: list[str]
) -> None:
    """The copied program needs nothing but the server, and its photograph is the one seen."""
    seen = studio.open(scene)
    studio.button("Share").click()
    studio.button(name).click()
    (tmp_path / "snippet").write_text(studio.page.get_by_label("To copy").input_value())
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "photo.png")), seen.photo)


def test_download_and_contact_sheet(studio: Studio, scene: Scene, tmp_path: Path) -> None:
    """The photograph comes lossless, and all candidates of an object in one picture."""
    seen = studio.open(scene)
    photo = studio.saved(studio.button("Download photo").click, tmp_path / "photo.png")
    assert np.array_equal(np.asarray(Image.open(photo)), seen.photo)
    studio.select(int(seen.instance[seen.label == CLASSES.index("window")][0]), seen)
    studio.until("() => document.querySelectorAll('.strip img').length === 11")
    sheet = studio.saved(studio.button("Contact sheet").click, tmp_path / "sheet.png")
    with Image.open(sheet) as picture:
        assert min(picture.size) > 300


def test_new_scenes(studio: Studio, scene: Scene) -> None:
    """Blank and sample scenes can be begun, and what was open comes back with Undo."""
    before = studio.open(scene)
    studio.button("New").click()
    studio.button("Blank").click()
    studio.page.get_by_label("Width").fill("96")
    studio.page.get_by_label("Height").fill("64")
    studio.button("Create").click()
    blank = studio.seen()
    assert blank.label.shape == (64, 96)
    assert not blank.label.any()
    studio.button("New").click()
    studio.button("Sample").click()
    studio.page.get_by_label("Size").select_option("256")
    studio.button("Create").click()
    studio.until("() => hdsynth.scene().width === 256")
    studio.key("Control+z", "Control+z")
    assert studio.seen().same_as(before)


def test_views_zoom_and_pan(studio: Studio, scene: Scene) -> None:
    """A pixel is painted where it is seen, in every view and at every zoom."""
    studio.open(scene)
    studio.key("b", "0", *["["] * 12)
    for number, name in enumerate(("Side by side", "Overlay", "Slider")):
        studio.button(name).click()
        studio.key("+", "+")
        studio.page.mouse.move(*studio.at(64, 64))
        studio.page.mouse.wheel(30, -20)
        studio.click(40 + 4 * number, 70)
        assert studio.seen().label[70, 40 + 4 * number] == CLASSES.index("vegetation")
        studio.key("f")


def test_offline_is_told_and_work_goes_on(studio: Studio, scene: Scene, tmp_path: Path) -> None:
    """Without a server one can paint; the photograph follows when there is one again."""
    server = start_server(tmp_path / "first.log")
    port = int(server.url.rsplit(":", 1)[1])
    studio.url = server.url
    before = studio.open(scene)
    stop_server(server)
    studio.page.locator("[data-state=offline]").wait_for()
    studio.key("b", "0")
    studio.click(30, 10)
    with (tmp_path / "second.log").open("wb") as log:
        again = start_server_at(port, log.name)
    try:
        after = studio.seen()
    finally:
        stop_server(again)
    assert after.label[10, 30] == CLASSES.index("vegetation")
    assert not np.array_equal(after.photo, before.photo)


def start_server_at(port: int, log: str) -> Server:
    """Start a server where another one was."""
    code = (
        "from service.app import run; from service.settings import Settings; "
        f"run(Settings(port={port}, threads=1, grpc_port=None, metrics_port=None))"
    )
    with Path(log).open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-c", code], stderr=stderr)
    return Server(process, f"http://127.0.0.1:{port}", Path(log))


def test_key_is_asked_for(studio: Studio, scene: Scene, tmp_path: Path) -> None:
    """A server that wants a key gets it, for the maps and for the stream alike."""
    key, line = new_key("artist")
    (tmp_path / "keys").write_text(line)
    server = start_server(tmp_path / "stderr.log", api_keys_file=tmp_path / "keys")
    try:
        studio.url = server.url
        studio.page.goto(f"{server.url}/studio#{fragment(scene)}")
        for given in ("wrong", key):
            studio.page.get_by_label("API key").fill(given)
            studio.button("Continue").click()
        assert np.array_equal(studio.seen().label, scene.label)
    finally:
        stop_server(server)


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: npm ci in studio/")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    browser: Browser, studio_server: Server, scene: Scene, scheme: str
) -> None:
    """Every tab and dialog can be used with a keyboard and a screen reader."""
    # axe is injected, which the page's policy rightly forbids.
    context = browser.new_context(
        viewport=VIEWPORT,  # type: ignore[arg-type]
        bypass_csp=True,
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    studio = Studio(context.new_page(), studio_server.url)
    seen = studio.open(scene)
    studio.page.add_script_tag(path=AXE)
    studio.select(int(seen.instance[SIDE // 2, SIDE // 2]), seen)
    found = []
    for tab in ("Paint", "Object", "Add", "Scene"):
        studio.tab(tab)
        found += serious(studio, tab)
    for name in ("New", "Share", "Keyboard"):
        studio.button(name).click()
        found += serious(studio, name)
        studio.key("Escape")
    studio.tab("Object")
    photo = {"name": "photo.png", "mimeType": "image/png", "buffer": png(seen.photo)}
    studio.page.get_by_label("Reference photograph").set_input_files(photo)  # type: ignore[arg-type]
    studio.button("Take the style").wait_for()
    found += serious(studio, "From a photo")
    context.close()
    assert found == []


def serious(studio: Studio, where: str) -> list[str]:
    """Return what axe finds serious or critical."""
    violations = studio.page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{where}: {violation['id']}: {violation['nodes'][0]['html']}"
        for violation in violations
        if violation["impact"] in {"serious", "critical"}
    ]


def test_tab_reaches_everything_in_order(studio: Studio, scene: Scene) -> None:
    """The focus goes from the bar to the tools, the canvas, the panel and the status bar."""
    studio.open(scene)
    places: list[str] = []
    for _ in range(40):
        studio.key("Tab")
        place = studio.page.evaluate(
            "() => document.activeElement.closest('.topbar, .rail, .stage, .panel, .status')"
            "?.classList[0]"
        )
        if place and place not in places[-1:]:
            places.append(place)
    assert places[:5] == ["topbar", "rail", "stage", "panel", "status"]


@pytest.mark.parametrize("size", [(1280, 720), (768, 1024)])
def test_nothing_is_cut_off(studio: Studio, scene: Scene, size: tuple[int, int]) -> None:
    """On a small screen and on a tablet every control lies within the window."""
    studio.page.set_viewport_size({"width": size[0], "height": size[1]})
    studio.open(scene)
    outside = studio.page.evaluate(
        """() => [...document.querySelectorAll('.topbar button, .rail button, .status button')]
          .filter((b) => b.checkVisibility())
          .filter((b) => {
            const { left, top, right, bottom } = b.getBoundingClientRect();
            return left < 0 || top < 0 || right > innerWidth || bottom > innerHeight;
          })
          .map((b) => b.ariaLabel ?? b.textContent)"""
    )
    assert outside == []


@pytest.mark.skipif(
    shutil.which("npx") is None or not (SOURCES / "node_modules").exists(),
    reason="needs node: npm ci in studio/",
)
def test_built_files_are_current(tmp_path: Path) -> None:
    """What the server ships is what the sources give."""
    subprocess.run(
        ["npx", "vite", "build", "--outDir", str(tmp_path)],  # noqa: S607, found above
        cwd=SOURCES,
        check=True,
        capture_output=True,
    )

    def files(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    assert files(tmp_path) == files(BUILT), "run `make studio`"


TABLET = {"width": 820, "height": 1180}


@pytest.fixture
def tablet(browser: Browser, studio_server: Server) -> Iterator[Studio]:
    """The studio on a tablet, which has fingers and no mouse."""
    context = browser.new_context(viewport=TABLET, has_touch=True)  # type: ignore[arg-type]
    studio = Studio(context.new_page(), studio_server.url)
    yield studio
    context.close()
    assert studio.errors == []


class Fingers:
    """Fingers on the page, as the browser is told of them by a touch screen."""

    def __init__(self, studio: Studio) -> None:
        self._browser = studio.page.context.new_cdp_session(studio.page)

    def _tell(self, kind: str, points: list[tuple[float, float]]) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self._browser.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def drag(self, *steps: list[tuple[float, float]]) -> None:
        """Put fingers down at the first step, one after the other, move them, lift all."""
        for count in range(1, len(steps[0]) + 1):
            self._tell("touchStart", steps[0][:count])
        for points in steps[1:]:
            self._tell("touchMove", points)
        self._tell("touchEnd", [])


def test_one_finger_paints(tablet: Studio, scene: Scene) -> None:
    """A finger does what the mouse does, and the photograph follows."""
    before = tablet.open(scene)
    tablet.page.get_by_role("radio", name="Brush").tap()
    tablet.page.get_by_role("radio", name="vegetation").tap()
    Fingers(tablet).drag(*([tablet.at(x, 12)] for x in range(20, 61, 8)))
    after = tablet.seen()
    changed = after.label != before.label
    assert after.label[12, 20] == after.label[12, 60] == CLASSES.index("vegetation")
    assert set(after.label[changed].tolist()) == {CLASSES.index("vegetation")}
    assert not np.array_equal(after.photo[changed], before.photo[changed])


def test_two_fingers_move_and_zoom_the_view(tablet: Studio, scene: Scene) -> None:
    """The points under the fingers stay under them, and nothing is painted."""
    before = tablet.open(scene)
    tablet.page.get_by_role("radio", name="Brush").tap()
    left, right = (40, 60), (80, 60)
    start = [tablet.at(*left), tablet.at(*right)]
    moved = [(start[0][0] - 40, start[0][1] + 30), (start[1][0] + 40, start[1][1] + 30)]
    Fingers(tablet).drag(start, moved)
    for point, place in ((left, moved[0]), (right, moved[1])):
        assert tablet.at(*point) == pytest.approx(place, abs=3)
    assert tablet.seen().same_as(before)
    assert tablet.button("Undo").is_disabled()
