// The panel at the right, one tab at a time.

import type { App } from "../app";
import type { View } from "../view";
import { h, roving } from "./dom";
import { libraryTab } from "./library-tab";
import { objectTab } from "./object-tab";
import { paintTab } from "./paint-tab";
import { sceneTab } from "./scene-tab";

export function panel(app: App, view: View): HTMLElement {
  const library = libraryTab(app, view);
  const tabs = [
    { name: "Paint", content: paintTab(app) },
    { name: "Object", content: objectTab(app) },
    { name: "Add", content: library.element },
    { name: "Scene", content: sceneTab(app) },
  ];
  const buttons = tabs.map(({ name, content }) => {
    content.id = `tab-${name.toLowerCase()}`;
    content.setAttribute("role", "tabpanel");
    content.setAttribute("aria-label", name);
    return h("button", {
      type: "button",
      role: "tab",
      id: `${content.id}-button`,
      textContent: name,
      "aria-controls": content.id,
      onclick: () => show(name),
    });
  });
  const list = h("div", { className: "tabs", role: "tablist", "aria-label": "Panel" }, ...buttons);
  roving(list);
  let shown = "";
  const show = (wanted: string) => {
    shown = wanted;
    tabs.forEach(({ name, content }, i) => {
      const isShown = name === wanted;
      content.hidden = !isShown;
      buttons[i].setAttribute("aria-selected", String(isShown));
      buttons[i].tabIndex = isShown ? 0 : -1;
    });
    if (wanted === "Add") library.open();
  };
  let tool = app.tool;
  app.on("choice", () => {
    if (app.tool === tool) return;
    tool = app.tool;
    // Whoever adds objects or tries looks is not torn away from it.
    if (tool === "select" && shown === "Paint") show("Object");
    else if (tool !== "select" && tool !== "hand" && shown === "Object") show("Paint");
  });
  show("Paint");
  const body = h("div", { className: "panel-body" }, ...tabs.map(({ content }) => content));
  return h("aside", { className: "panel", "aria-label": "Settings" }, list, body);
}
