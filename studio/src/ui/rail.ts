// The tools at the left.

import type { App, ToolName } from "../app";
import { TOOL_KEYS } from "../shortcuts";
import { h, iconButton, roving } from "./dom";

const NAMES: Readonly<Record<ToolName, string>> = {
  select: "Select and move",
  brush: "Brush",
  eraser: "Eraser",
  rectangle: "Rectangle",
  polygon: "Polygon",
  fill: "Fill",
  pick: "Pick a class",
  hand: "Move the view",
};

export function rail(app: App): HTMLElement {
  const names = Object.keys(NAMES) as ToolName[];
  const buttons = names.map((tool) => {
    const made = iconButton(tool, NAMES[tool], () => app.choose({ tool }), TOOL_KEYS[tool]);
    made.setAttribute("role", "radio");
    return made;
  });
  const element = h("div", { className: "rail", role: "radiogroup", "aria-label": "Tools" }, ...buttons);
  roving(element);
  const show = () =>
    buttons.forEach((button, i) => {
      button.setAttribute("aria-checked", String(names[i] === app.tool));
      button.tabIndex = names[i] === app.tool ? 0 : -1;
    });
  app.on("choice", show);
  show();
  return element;
}
