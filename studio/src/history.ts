// Changes of a scene that can be undone, as many as there are.

import { type Box, area, clip, overlap, union } from "./geometry";
import { type Placed, type Scene, forEachPixel } from "./scene";
import type { Styles } from "./styles";

export const TILE = 64;

export interface Step {
  readonly name: string;
  undo(): void;
  redo(): void;
}

export class History {
  private done: Step[] = [];
  private undone: Step[] = [];

  get canUndo(): boolean {
    return this.done.length > 0;
  }

  get canRedo(): boolean {
    return this.undone.length > 0;
  }

  /** Take in a step that has been made already. */
  push(step: Step): void {
    this.done.push(step);
    this.undone = [];
  }

  undo(): Step | undefined {
    const step = this.done.pop();
    if (step) {
      step.undo();
      this.undone.push(step);
    }
    return step;
  }

  redo(): Step | undefined {
    const step = this.undone.pop();
    if (step) {
      step.redo();
      this.done.push(step);
    }
    return step;
  }
}

interface Patch {
  readonly box: Box;
  readonly label: Uint8Array;
  readonly instance: Uint16Array;
}

/** A change in the making: shows itself as it grows, and becomes one step of the history. */
export class Edit {
  private readonly before = new Map<number, Patch>();
  private readonly columns: number;
  private readonly stylesBefore: Styles;
  private readonly objectsBefore: readonly Placed[];
  private extent = nothing();
  /** All that has changed so far. */
  changed: Box | null = null;

  constructor(
    readonly scene: Scene,
    private readonly onChange: (box: Box | null) => void,
  ) {
    this.columns = Math.ceil(scene.width / TILE);
    this.stylesBefore = scene.styles;
    this.objectsBefore = scene.objects;
  }

  /** Write a pixel of the base. */
  set(index: number, label: number, instance: number): void {
    const { base, width } = this.scene;
    if (base.label[index] === label && base.instance[index] === instance) return;
    const x = index % width;
    const y = (index - x) / width;
    const tile = Math.floor(y / TILE) * this.columns + Math.floor(x / TILE);
    let patch = this.before.get(tile);
    if (!patch) {
      patch = this.copy(tile);
      this.before.set(tile, patch);
    }
    base.label[index] = label;
    base.instance[index] = instance;
    // By hand: this runs for every pixel of a stroke.
    const extent = this.extent;
    if (x < extent.left) extent.left = x;
    if (x >= extent.right) extent.right = x + 1;
    if (y < extent.top) extent.top = y;
    if (y >= extent.bottom) extent.bottom = y + 1;
  }

  set objects(objects: readonly Placed[]) {
    const scene = this.scene;
    const kept = new Set(objects);
    const had = new Set(scene.objects);
    const order = scene.objects.filter((o) => kept.has(o)).some((o, i) => o !== objects.filter((p) => had.has(p))[i]);
    for (const object of [...scene.objects, ...objects]) {
      if (order || !kept.has(object) || !had.has(object)) this.mark(object);
    }
    scene.objects = objects;
  }

  set styles(styles: Styles) {
    this.scene.styles = styles;
  }

  /** Fix the objects that a box touches in the base, with those below them. */
  settle(box: Box): void {
    const { objects } = this.scene;
    const last = objects.findLastIndex((object) => overlap(object, box));
    this.fix(objects.slice(0, last + 1));
  }

  /** Write the lowest objects into the base. The maps stay as they are. */
  fix(lowest: readonly Placed[]): void {
    for (const object of lowest) {
      forEachPixel(object, this.scene, object, (i) => this.set(i, object.label, object.instance));
    }
    if (lowest.length) this.objects = this.scene.objects.slice(lowest.length);
  }

  /** Show what has changed since the last time. */
  flush(): Box | null {
    const { left, top, right, bottom } = this.extent;
    const dirty = { x: left, y: top, width: right - left, height: bottom - top };
    const box = right > left ? clip(dirty, this.scene.width, this.scene.height) : null;
    this.extent = nothing();
    if (box) this.scene.flatten(box);
    this.changed = union(this.changed, box);
    this.onChange(box);
    return box;
  }

  /** Put everything back as it was. */
  cancel(): void {
    this.restore([...this.before.values()], this.objectsBefore, this.stylesBefore);
  }

  /** Finish, and return the step; null if nothing has changed. */
  finish(name: string): Step | null {
    this.flush();
    const { scene } = this;
    const [objects, styles] = [scene.objects, scene.styles];
    if (!this.before.size && objects === this.objectsBefore && styles === this.stylesBefore) {
      return null;
    }
    const before = [...this.before.values()];
    const after = [...this.before.keys()].map((tile) => this.copy(tile));
    return {
      name,
      undo: () => this.restore(before, this.objectsBefore, this.stylesBefore),
      redo: () => this.restore(after, objects, styles),
    };
  }

  private restore(patches: Patch[], objects: readonly Placed[], styles: Styles): void {
    const { base, width } = this.scene;
    for (const { box, label, instance } of patches) {
      for (let row = 0; row < box.height; row++) {
        const [from, to] = [row * box.width, (row + 1) * box.width];
        const at = (box.y + row) * width + box.x;
        base.label.set(label.subarray(from, to), at);
        base.instance.set(instance.subarray(from, to), at);
      }
      this.mark(box);
    }
    this.objects = objects;
    this.styles = styles;
    this.flush();
  }

  private copy(tile: number): Patch {
    const { base, width, height } = this.scene;
    const [x, y] = [(tile % this.columns) * TILE, Math.floor(tile / this.columns) * TILE];
    const box = { x, y, width: Math.min(TILE, width - x), height: Math.min(TILE, height - y) };
    const label = new Uint8Array(area(box));
    const instance = new Uint16Array(area(box));
    for (let row = 0; row < box.height; row++) {
      const from = (y + row) * width + x;
      label.set(base.label.subarray(from, from + box.width), row * box.width);
      instance.set(base.instance.subarray(from, from + box.width), row * box.width);
    }
    return { box, label, instance };
  }

  private mark(box: Box): void {
    const { extent } = this;
    extent.left = Math.min(extent.left, box.x);
    extent.top = Math.min(extent.top, box.y);
    extent.right = Math.max(extent.right, box.x + box.width);
    extent.bottom = Math.max(extent.bottom, box.y + box.height);
  }
}

function nothing() {
  return { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
}
