// The tab "Paint": classes, brush size, and whether a stroke is a new object.

import type { App } from "../app";
import { h, roving, segments } from "./dom";

const KEYS = "1234567890";

export const [SMALLEST_BRUSH, LARGEST_BRUSH] = [1, 200];

/** The key that chooses a class; "" for classes after the tenth. */
export function keyOfClass(label: number): string {
  return KEYS[label] ?? "";
}

export function classOfKey(key: string): number {
  return KEYS.indexOf(key);
}

export function paintTab(app: App): HTMLElement {
  const entries = app.model.classes.map(({ id, name, colour }) => {
    const swatch = h("i", { className: "swatch" });
    swatch.style.backgroundColor = `rgb(${colour.join(" ")})`;
    const key = keyOfClass(id);
    return h(
      "button",
      { type: "button", role: "radio", title: name, onclick: () => app.choose({ label: id }) },
      swatch,
      h("span", { className: "name", textContent: name }),
      key ? h("kbd", { textContent: key, "aria-hidden": "true" }) : null,
    );
  });
  const classes = h("div", { className: "classes", role: "radiogroup", "aria-label": "Class to paint" }, ...entries);
  roving(classes);

  const size = h("input", {
    type: "range",
    id: "brush-size",
    min: String(SMALLEST_BRUSH),
    max: String(LARGEST_BRUSH),
    oninput: () => app.choose({ brush: size.valueAsNumber }),
  });
  const sizeText = h("output", { htmlFor: "brush-size" as unknown as DOMTokenList });
  const policy = segments(
    "What a stroke is",
    [
      ["new", "New object"],
      ["extend", "Extend object"],
    ] as const,
    (value) => app.choose({ policy: value }),
  );
  const hint = h("p", { className: "hint" });

  const show = () => {
    entries.forEach((entry, id) => {
      entry.setAttribute("aria-checked", String(id === app.label));
      entry.tabIndex = id === app.label ? 0 : -1;
    });
    size.value = String(app.brush);
    sizeText.textContent = `${app.brush} px`;
    policy.show(app.policy);
    hint.textContent =
      app.policy === "new"
        ? "Every stroke is an object of its own, with a style of its own."
        : "A stroke continues the object of this class that it starts at.";
  };
  app.on("choice", show);
  show();
  return h(
    "div",
    {},
    h("div", { className: "row" }, h("label", { htmlFor: "brush-size", textContent: "Brush" }), size, sizeText),
    policy.element,
    hint,
    h("h2", { textContent: "Classes" }),
    classes,
  );
}
