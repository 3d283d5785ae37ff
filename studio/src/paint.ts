// Strokes, shapes and fills: which pixels they cover, and how they are written.

import type { Box, Point } from "./geometry";
import { clip } from "./geometry";
import type { Edit } from "./history";
import type { Planes, Scene } from "./scene";

export interface Paint {
  readonly label: number;
  readonly instance: number;
}

/** Draw the line that a round brush leaves between two points. */
export function stroke(edit: Edit, from: Point, to: Point, diameter: number, paint: Paint): void {
  const { scene } = edit;
  const radius = diameter / 2;
  const box = clip(
    {
      x: Math.min(from.x, to.x) - radius - 1,
      y: Math.min(from.y, to.y) - radius - 1,
      width: Math.abs(from.x - to.x) + diameter + 2,
      height: Math.abs(from.y - to.y) + diameter + 2,
    },
    scene.width,
    scene.height,
  );
  if (!box) return;
  edit.settle(box);
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  // The smallest brush still has to hit the pixel that it is over.
  const reach = Math.max(radius, 0.5) ** 2 + 0.01;
  cover(edit, box, paint, (x, y) => {
    const [px, py] = [x + 0.5 - from.x, y + 0.5 - from.y];
    const t = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
    return (px - t * dx) ** 2 + (py - t * dy) ** 2 <= reach;
  });
}

export function rectangle(edit: Edit, box: Box, paint: Paint): void {
  const inside = clip(rounded(box), edit.scene.width, edit.scene.height);
  if (!inside) return;
  edit.settle(inside);
  cover(edit, inside, paint, () => true);
}

/** Fill a polygon; where it crosses itself, by the even-odd rule. */
export function polygon(edit: Edit, points: readonly Point[], paint: Paint): void {
  const [xs, ys] = [points.map((p) => p.x), points.map((p) => p.y)];
  const [x, y] = [Math.min(...xs), Math.min(...ys)];
  const around = { x, y, width: Math.max(...xs) - x, height: Math.max(...ys) - y };
  const box = clip(around, edit.scene.width, edit.scene.height);
  if (!box) return;
  edit.settle(box);
  cover(edit, box, paint, (px, py) => isInside(points, px + 0.5, py + 0.5));
}

/** Fill the connected region of one object around a point. */
export function fill(edit: Edit, start: Point, paint: Paint): void {
  const { scene } = edit;
  const region = connected(scene, Math.floor(start.x), Math.floor(start.y));
  // All of them: the region may run below any of the objects.
  edit.fix(scene.objects);
  for (const index of region) edit.set(index, paint.label, paint.instance);
}

/** The 4-connected region of one class and instance around a pixel, as indices. */
export function connected(planes: Planes & { width: number; height: number }, x: number, y: number): number[] {
  const { width, height, label, instance } = planes;
  const start: number = y * width + x;
  const [wantedLabel, wantedId] = [label[start], instance[start]];
  const seen = new Uint8Array(label.length);
  const region = [start];
  seen[start] = 1;
  const visit = (index: number) => {
    if (seen[index] || label[index] !== wantedLabel || instance[index] !== wantedId) return;
    seen[index] = 1;
    region.push(index);
  };
  for (let i = 0; i < region.length; i++) {
    const index = region[i];
    const column = index % width;
    if (column > 0) visit(index - 1);
    if (column < width - 1) visit(index + 1);
    if (index >= width) visit(index - width);
    if (index < width * (height - 1)) visit(index + width);
  }
  return region;
}

/** Make an object another class. It gets a new id of that class, and keeps its code. */
export function changeLabel(edit: Edit, instance: number, label: number): number {
  const { scene } = edit;
  const id = scene.freshId(label);
  for (let i = 0; i < scene.base.instance.length; i++) {
    if (scene.base.instance[i] === instance) edit.set(i, label, id);
  }
  edit.objects = scene.objects.map((object) =>
    object.instance === instance ? { ...object, label, instance: id } : object,
  );
  return id;
}

/** A pixel of the instance that is next to a point, of this class; null if there is none. */
export function touching(scene: Scene, at: Point, radius: number, label: number): number | null {
  const box = clip(
    { x: at.x - radius, y: at.y - radius, width: 2 * radius + 1, height: 2 * radius + 1 },
    scene.width,
    scene.height,
  );
  if (!box) return null;
  let best: number | null = null;
  let nearest = Infinity;
  for (let y = box.y; y < box.y + box.height; y++) {
    for (let x: number = box.x; x < box.x + box.width; x++) {
      const index = y * scene.width + x;
      const distance = (x + 0.5 - at.x) ** 2 + (y + 0.5 - at.y) ** 2;
      if (scene.label[index] === label && distance < nearest) {
        nearest = distance;
        best = scene.instance[index];
      }
    }
  }
  return best;
}

function cover(edit: Edit, box: Box, paint: Paint, isCovered: (x: number, y: number) => boolean) {
  const { width } = edit.scene;
  for (let y = box.y; y < box.y + box.height; y++) {
    for (let x = box.x; x < box.x + box.width; x++) {
      if (isCovered(x, y)) edit.set(y * width + x, paint.label, paint.instance);
    }
  }
}

function isInside(points: readonly Point[], x: number, y: number): boolean {
  let inside = false;
  for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
    const [a, b] = [points[i], points[j]];
    if (a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) inside = !inside;
  }
  return inside;
}

function rounded(box: Box): Box {
  const [x, y] = [Math.round(box.x), Math.round(box.y)];
  return {
    x,
    y,
    width: Math.max(1, Math.round(box.x + box.width) - x),
    height: Math.max(1, Math.round(box.y + box.height) - y),
  };
}
