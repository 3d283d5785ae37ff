// The bar at the bottom: where the pointer is, how the server does, how fast it is, zoom.

import type { App } from "../app";
import type { Point } from "../geometry";
import type { LinkState } from "../link";
import type { View } from "../view";
import { h, iconButton } from "./dom";
import { shortcutsDialog } from "./dialogs";

const STATES: Readonly<Record<LinkState, string>> = {
  connecting: "Connecting …",
  live: "Live",
  busy: "The server is busy; waiting",
  offline: "Offline: your work is kept, trying again",
};

export function statusBar(app: App, view: View) {
  const place = h("span", { className: "place" });
  const state = h("span", { className: "state", role: "status" });
  const latency = h("span", { className: "latency", title: "From your hand to the photograph; the engine's share of it" });
  const zoom = h("span", { className: "zoom" });
  const element = h(
    "footer",
    { className: "status" },
    place,
    state,
    latency,
    h("div", { className: "group" },
      iconButton("minus", "Zoom out", () => view.zoom(0.8), "−"),
      zoom,
      iconButton("plus", "Zoom in", () => view.zoom(1.25), "+"),
      iconButton("fit", "Show all", () => view.fit(), "F"),
      iconButton("help", "Keyboard", shortcutsDialog, "?")),
  );
  const show = () => {
    state.textContent = STATES[app.linkState];
    state.dataset.state = app.linkState;
  };
  app.on("link", show);
  app.on("latency", () => {
    if (!app.latency) return;
    const { total, engine } = app.latency;
    latency.textContent = `${Math.round(total)} ms, engine ${Math.round(engine)} ms`;
  });
  show();
  const hover = (at: Point | null) => {
    const { scene } = app;
    if (!at || !scene.contains(at.x, at.y)) {
      place.textContent = "";
      return;
    }
    const [x, y] = [Math.floor(at.x), Math.floor(at.y)];
    const index = y * scene.width + x;
    const name = app.model.classes[scene.label[index]]?.name ?? `class ${scene.label[index]}`;
    place.textContent = `${x}, ${y}  ${name} ${scene.instance[index]}`;
  };
  return { element, hover, showZoom: (percent: number) => (zoom.textContent = `${percent} %`) };
}
