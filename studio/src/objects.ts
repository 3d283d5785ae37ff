// Objects as things: cut out, placed, moved, scaled, flipped, brought forward, removed.

import type { Box, Point } from "./geometry";
import type { Edit } from "./history";
import type { Mask, Placed, Scene } from "./scene";

const SMALLEST = 4;
/** Pixels along a side. */

/** Cut the mask of an instance out of maps. */
export function cutMask(
  instance: Uint16Array,
  width: number,
  box: Box,
  id: number,
): Mask {
  const data = new Uint8Array(box.width * box.height);
  for (let y = 0; y < box.height; y++) {
    for (let x = 0; x < box.width; x++) {
      data[y * box.width + x] = Number(instance[(box.y + y) * width + box.x + x] === id);
    }
  }
  return { width: box.width, height: box.height, data };
}

/** Put an object from the library on top, its middle at a point; return its id. */
export function place(edit: Edit, mask: Mask, label: number, middle: Point, scale = 1): number {
  const { scene } = edit;
  const instance = scene.freshId(label);
  const [width, height] = [Math.round(mask.width * scale), Math.round(mask.height * scale)];
  const x = Math.round(middle.x - width / 2);
  const y = Math.round(middle.y - height / 2);
  const object = { instance, label, mask, flipped: false, x, y, width, height };
  edit.objects = [...scene.objects, object];
  return instance;
}

/**
 * Loosen an instance from the base, so that it can be moved; return it, null if there is nothing
 * to loosen. The hole is closed with what is nearest to each of its pixels.
 */
export function lift(edit: Edit, instance: number): Placed | null {
  const { scene } = edit;
  const placed = scene.objects.find((object) => object.instance === instance);
  if (placed) return placed;
  const box = scene.boxOf(instance);
  const start = scene.base.instance.indexOf(instance);
  if (!box || start < 0 || scene.instances().size < 2) return null;
  const label = scene.base.label[start];
  const mask = cutMask(scene.instance, scene.width, box, instance);
  closeHole(edit, instance);
  const object = { instance, label, mask, flipped: false, ...box };
  edit.objects = [object, ...scene.objects];
  return object;
}

export function replaceObject(edit: Edit, instance: number, change: Partial<Placed>): void {
  edit.objects = edit.scene.objects.map((object) =>
    object.instance === instance ? clamped({ ...object, ...change }, edit.scene) : object,
  );
}

export function remove(edit: Edit, instance: number): boolean {
  if (!lift(edit, instance)) return false;
  edit.objects = edit.scene.objects.filter((object) => object.instance !== instance);
  return true;
}

/** Move an object one place in the order: +1 towards the viewer, -1 away. */
export function reorder(edit: Edit, instance: number, by: 1 | -1): void {
  const objects = [...edit.scene.objects];
  const from = objects.findIndex((object) => object.instance === instance);
  const to = from + by;
  if (from < 0 || to < 0 || to >= objects.length) return;
  [objects[from], objects[to]] = [objects[to], objects[from]];
  edit.objects = objects;
}

/** The box of an object that is scaled by dragging the corner opposite to `anchor`. */
export function scaledBox(box: Box, anchor: Point, to: Point, keepsShape: boolean): Box {
  let width = Math.max(SMALLEST, Math.abs(to.x - anchor.x));
  let height = Math.max(SMALLEST, Math.abs(to.y - anchor.y));
  if (keepsShape) {
    const scale = Math.max(width / box.width, height / box.height);
    [width, height] = [box.width * scale, box.height * scale];
  }
  [width, height] = [Math.round(width), Math.round(height)];
  const x = to.x < anchor.x ? anchor.x - width : anchor.x;
  const y = to.y < anchor.y ? anchor.y - height : anchor.y;
  return { x: Math.round(x), y: Math.round(y), width, height };
}

/** Some of an object stays in sight, else nobody could take hold of it any more. */
function clamped(object: Placed, scene: Scene): Placed {
  const width = Math.min(Math.max(SMALLEST, object.width), 4 * scene.width);
  const height = Math.min(Math.max(SMALLEST, object.height), 4 * scene.height);
  const x = Math.min(Math.max(object.x, SMALLEST - width), scene.width - SMALLEST);
  const y = Math.min(Math.max(object.y, SMALLEST - height), scene.height - SMALLEST);
  return { ...object, x, y, width, height };
}

/** Give every pixel of an instance to the nearest other object of the base. */
function closeHole(edit: Edit, instance: number): void {
  const { base, width, height } = edit.scene;
  const size = width * height;
  let front: number[] = [];
  const isOpen = (index: number) => base.instance[index] === instance;
  const neighbours = (index: number) => {
    const column = index % width;
    const found = [];
    if (column > 0) found.push(index - 1);
    if (column < width - 1) found.push(index + 1);
    if (index >= width) found.push(index - width);
    if (index + width < size) found.push(index + width);
    return found;
  };
  for (let i = 0; i < size; i++) {
    if (isOpen(i) && neighbours(i).some((n) => !isOpen(n))) front.push(i);
  }
  while (front.length) {
    const sources = front.map((index) => neighbours(index).find((n) => !isOpen(n)) ?? index);
    // Read before they are written: all of a front is equally far.
    const labels = sources.map((i) => base.label[i]);
    const ids = sources.map((i) => base.instance[i]);
    front.forEach((index, i) => edit.set(index, labels[i], ids[i]));
    front = [...new Set(front.flatMap((index) => neighbours(index).filter(isOpen)))];
  }
}
