// `window.hdsynth`: the scripting surface, read-only. docs/studio.md describes it.

import type { App } from "./app";
import type { View } from "./view";
import { toFile } from "./styles";

export function addHook(app: App, view: View): void {
  const hook = {
    /** Copies of the maps, and of what is known about styles and objects. */
    scene() {
      const { width, height, label, instance, styles, objects } = app.scene;
      const options = toFile(styles, new Set(app.scene.instances().keys()));
      const loose = objects.map(({ mask: _, ...object }) => object);
      return { width, height, label: label.slice(), instance: instance.slice(), options, objects: loose };
    },
    /** Red, green, blue and alpha of the photograph; null before there is one. */
    photo() {
      const { photo } = app.layers;
      const context = app.layers.hasPhoto ? photo.getContext("2d") : null;
      return context?.getImageData(0, 0, photo.width, photo.height).data ?? null;
    },
    /** Whether the photograph shows the scene as it is. */
    get isSettled() {
      return app.live.isSettled;
    },
    get latency() {
      return app.latency && { ...app.latency };
    },
    get selected() {
      return app.selected;
    },
    /** Where a point of the scene is on the page. */
    toPage(x: number, y: number) {
      const box = view.canvas.getBoundingClientRect();
      const at = view.toCanvas({ x, y });
      return { x: box.x + at.x, y: box.y + at.y };
    },
  };
  Object.defineProperty(window, "hdsynth", { value: Object.freeze(hook) });
}
