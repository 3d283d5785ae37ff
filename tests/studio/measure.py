"""Measure how fast the studio's photograph follows, and write docs/benchmarks/studio.md.

python -m tests.studio.measure
"""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from playwright.sync_api import sync_playwright

from model.scenes import CLASSES, draw_scene
from tests.service.conftest import start_server, stop_server
from tests.studio.conftest import CHROMIUM, VIEWPORT, Seen, Studio

REPORT = Path(__file__).parents[2] / "docs" / "benchmarks" / "studio.md"
SIDE, STROKES, MARGIN = 512, 10, 16
WINDOW = CLASSES.index("window")

# In the page, so that nothing but the studio is timed. What an engine was still busy with when the
# pointer was released counts as the engine's, less all that its photograph cost besides.
_STROKE = """async ([x, y]) => {
  const canvas = document.querySelector("canvas");
  const send = (type, at) => canvas.dispatchEvent(new PointerEvent(type, {
    clientX: at.x, clientY: at.y, pointerId: 1, button: 0, bubbles: true }));
  canvas.setPointerCapture = () => {};
  send("pointerdown", hdsynth.toPage(x, y));
  for (let i = 1; i <= 8; i++) {
    send("pointermove", hdsynth.toPage(x + 3 * i, y));
    await new Promise(requestAnimationFrame);
  }
  const since = performance.now();
  const shown = [];
  const drawn = new Promise((resolve) => {
    const observer = new MutationObserver(() => {
      const { view, total, decode, queue, engine } = hdsynth.latency;
      const end = performance.now() - since - (total - decode - queue - engine);
      shown.push({ view, total, engine: Math.max(0, Math.min(engine, end)) });
      if (!hdsynth.isSettled) return;
      observer.disconnect();
      resolve();
    });
    observer.observe(document.querySelector(".latency"), { childList: true });
  });
  send("pointerup", hdsynth.toPage(x + 24, y));
  await drawn;
  return shown;
}"""


def main() -> None:
    """Start server and browser, measure, write the report."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = start_server(Path(folder) / "stderr.log", result_cache_mb=0)
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            studio = Studio(browser.new_page(viewport=VIEWPORT), server.url)  # type: ignore[arg-type]
            before = studio.open(draw_scene(SIDE, SIDE, seed=4))
            REPORT.write_text(_report(_strokes(studio), _style_changes(studio, before)))
        finally:
            browser.close()
            stop_server(server)


def _strokes(studio: Studio) -> dict[str, list[tuple[float, float]]]:
    """Paint strokes; return milliseconds in all and of the engine until then, by what was shown."""
    studio.key("b", "0")
    found: dict[str, list[tuple[float, float]]] = {"region": [], "whole": []}
    for number in range(STROKES + 1):
        shown = studio.page.evaluate(_STROKE, [40 + 36 * number, 40])
        engine = 0.0
        for each in shown:
            engine += each["engine"]
            if number and each["view"] != "preview":  # the first stroke warms up
                found[each["view"]].append((each["total"], engine))
    return found


def _style_changes(studio: Studio, before: Seen) -> list[float]:
    """Restyle windows; return by how many grey levels the rest of the photograph changes."""
    before = studio.seen()
    ids, pixels = np.unique(before.instance[before.label == WINDOW], return_counts=True)
    found = []
    for window in ids[np.argsort(-pixels)][:3]:
        studio.select(int(window), before)
        studio.page.get_by_role("radio", name="Style 10", exact=True).click()
        after = studio.seen()
        apart = np.abs(before.photo.astype(float) - after.photo.astype(float)).mean(2)
        outside = np.ones(apart.shape, bool)
        outside[after.box(int(window), grown=MARGIN)] = False
        found.append(float(apart[outside].mean()))
        before = after
    return found


def _report(strokes: dict[str, list[tuple[float, float]]], rest: list[float]) -> str:
    rows = []
    for view, name in (("region", "The part that was painted"), ("whole", "The whole scene")):
        total = median(all_ms for all_ms, _ in strokes[view])
        # The whole scene is asked for after its part, so that the engine's time for both counts.
        beside = median(all_ms - engine for all_ms, engine in strokes[view])
        rows.append(f"| {name} | {total:.0f} ms | {total - beside:.0f} ms | {beside:.0f} ms |")
    return f"""# Studio

Written by `python -m tests.studio.measure` on {platform.machine()}, {_processor()}, the server
with 1 engine thread and Chromium on the same machine; medians of {STROKES} strokes on a scene of
{SIDE} x {SIDE} pixels with the bundled model.

From the pointer's release until the photograph is drawn on the canvas; the browser brings it to
the screen with its next frame, up to 17 ms later. Previews of the stroke that the engine was still
busy with count as the engine's:

| Shown | In all | Engine | Everything else |
|---|---|---|---|
{chr(10).join(rows)}

Another style for one window, the rest of the photograph (outside the window's box and {MARGIN}
pixels around it): changed by {", ".join(f"{level:.3f}" for level in rest)} grey levels of 255 on
average, for the three largest windows.
"""


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}"


if __name__ == "__main__":
    main()
