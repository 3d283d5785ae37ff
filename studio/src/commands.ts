// What can be done to the selected object and its style, from buttons and from keys alike.

import type { App } from "./app";
import { type Target, restyled } from "./candidates";
import type { Point } from "./geometry";
import { lift, place, remove, reorder, replaceObject } from "./objects";
import { changeLabel } from "./paint";
import type { Mask, Placed } from "./scene";
import type { Wish } from "./styles";

export function relabel(app: App, label: number): void {
  const { selected } = app;
  if (selected === null || app.labelOf(selected) === label) return;
  const code = app.scene.styles.instances.has(selected) ? app.codes.get(selected) : undefined;
  app.change("Change class", (edit) => {
    const id = changeLabel(edit, selected, label);
    const { styles } = edit.scene;
    // Numbers of styles mean something else in another class; what was seen is a code.
    if (code) edit.styles = { ...styles, instances: new Map(styles.instances).set(id, code) };
    edit.flush();
    app.select(id);
  });
}

export function addObject(app: App, mask: Mask, label: number, middle: Point, scale: number): void {
  app.change("Add object", (edit) => {
    const id = place(edit, mask, label, middle, scale);
    edit.flush();
    app.select(id);
  });
  app.choose({ tool: "select" });
}

export function removeSelected(app: App): void {
  const { selected } = app;
  if (selected === null) return;
  app.change("Remove", (edit) => {
    if (!remove(edit, selected)) throw new Error("This object is all there is; it cannot be removed.");
  });
}

/** Move the selected object by pixels, or change it in another way. */
export function alterSelected(app: App, name: string, change: (object: Placed) => Partial<Placed>): void {
  const { selected } = app;
  if (selected === null) return;
  app.change(name, (edit) => {
    const object = lift(edit, selected);
    if (!object) throw new Error("This object is all there is; it stays as it is.");
    replaceObject(edit, selected, change(object));
  });
}

export function orderSelected(app: App, by: 1 | -1): void {
  const { selected } = app;
  if (selected === null) return;
  app.change(by > 0 ? "Bring forward" : "Send backward", (edit) => {
    if (!lift(edit, selected)) throw new Error("This object is all there is; it stays as it is.");
    reorder(edit, selected, by);
  });
}

export function applyStyle(app: App, target: Target, wish: Wish | undefined): void {
  const seen = target.isClass ? null : app.scene.boxOf(target.instance);
  app.restyle("Style", restyled(app.scene.styles, target, wish, app.scene), seen);
}

/** Remember how the selected object looks, exactly as it is seen. */
export function copyStyle(app: App): void {
  if (app.selected === null) return;
  const code = app.codes.get(app.selected);
  if (code) app.choose({ copiedStyle: code });
  else app.emit("problem", "The object has not been seen yet; try again when its photograph is there.");
}

/** Give the selected object, or all of its class, the style that was copied. */
export function pasteStyle(app: App, isClass: boolean): void {
  const { selected, copiedStyle } = app;
  const label = app.labelOf(selected);
  if (selected === null || label === undefined || copiedStyle === null) return;
  applyStyle(app, { instance: selected, label, isClass }, copiedStyle);
}
