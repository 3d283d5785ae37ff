// The tab "Add": objects from sample scenes, ready to be placed.

import type { App } from "../app";
import { addObject } from "../commands";
import { type LibraryObject, loadLibrary } from "../library";
import type { View } from "../view";
import { button, h } from "./dom";

const SIDE = 56;
/** Masks are cut from scenes of this height. */
const SOURCE = 512;

export function libraryTab(app: App, view: View): { element: HTMLElement; open: () => void } {
  const shelves = h("div", { className: "library" });
  const hint = h("p", { className: "hint" });
  let isLoaded = false;

  const open = async () => {
    if (isLoaded) return;
    isLoaded = true;
    if (!app.model.samples) {
      hint.textContent = "Objects come from sample scenes, and there are none for this model.";
      return;
    }
    hint.textContent = "Cutting objects out of sample scenes …";
    try {
      const objects = await loadLibrary(app.api, app.model);
      hint.textContent = "Choose one: it appears in the middle, to be moved and scaled.";
      shelves.replaceChildren(...app.model.classes.flatMap(({ id }) => shelf(app, view, objects, id)));
    } catch (error) {
      isLoaded = false;
      hint.textContent = (error as Error).message;
      shelves.replaceChildren(button("Try again", () => void open()));
    }
  };
  return { element: h("div", {}, hint, shelves), open: () => void open() };
}

function shelf(app: App, view: View, objects: LibraryObject[], label: number): HTMLElement[] {
  const own = objects.filter((object) => object.label === label);
  if (!own.length) return [];
  const { name } = app.model.classes[label];
  const buttons = own.map((object, i) => {
    const made = h("button", {
      type: "button",
      title: `Add ${name}`,
      "aria-label": `Add ${name} ${i + 1}`,
      onclick: () => addObject(app, object.mask, label, middle(app, view), app.scene.height / SOURCE),
    });
    made.append(silhouette(app, object));
    return made;
  });
  return [h("h2", { textContent: name }), h("div", { className: "shelf" }, ...buttons)];
}

/** Where the user looks, unless that is beside the scene. */
function middle(app: App, view: View) {
  const { x, y } = view.middle;
  const { width, height } = app.scene;
  return { x: Math.min(width, Math.max(0, x)), y: Math.min(height, Math.max(0, y)) };
}

function silhouette(app: App, { label, mask }: LibraryObject): HTMLCanvasElement {
  const canvas = h("canvas", { width: mask.width, height: mask.height });
  const scale = Math.min(SIDE / mask.width, SIDE / mask.height);
  canvas.style.width = `${mask.width * scale}px`;
  canvas.style.height = `${mask.height * scale}px`;
  const image = new ImageData(mask.width, mask.height);
  const [r, g, b] = app.model.classes[label].colour;
  mask.data.forEach((inside, i) => image.data.set([r, g, b, 255 * inside], 4 * i));
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  return canvas;
}
