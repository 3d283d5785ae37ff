// The document: a label map, an instance map, objects that still lie loose on them, and styles.
//
// Every instance id belongs to one class. What is painted is the base; objects that were placed
// or lifted lie on it in their order, so that they can be moved without harm to what is below.
// `label` and `instance` are what comes out: the maps that are shown, sent and saved.

import { type Box, clip, overlap, union } from "./geometry";
import { NO_STYLES, type Styles } from "./styles";

export const MAX_ID = 65535;
const IDS_PER_CLASS = 1000;

/** A shape of one class. */
export interface Mask {
  readonly width: number;
  readonly height: number;
  /** 1 inside, 0 outside. */
  readonly data: Uint8Array;
}

/** An object that lies loose on the scene, stretched over its box. Never changed in place. */
export interface Placed extends Box {
  readonly instance: number;
  readonly label: number;
  readonly mask: Mask;
  readonly flipped: boolean;
}

export interface Planes {
  readonly label: Uint8Array<ArrayBuffer>;
  readonly instance: Uint16Array<ArrayBuffer>;
}

export interface SceneData {
  width: number;
  height: number;
  base: Planes;
  objects: readonly Placed[];
  styles: Styles;
}

export class Scene implements Planes {
  readonly width: number;
  readonly height: number;
  readonly base: Planes;
  readonly label: Uint8Array<ArrayBuffer>;
  readonly instance: Uint16Array<ArrayBuffer>;
  objects: readonly Placed[];
  styles: Styles;

  constructor(data: SceneData) {
    ({ width: this.width, height: this.height, base: this.base } = data);
    ({ objects: this.objects, styles: this.styles } = data);
    this.label = this.base.label.slice();
    this.instance = this.base.instance.slice();
    this.flatten(this.box);
  }

  static blank(width: number, height: number, label: number): Scene {
    const size = width * height;
    const id = label === 0 ? 0 : idRange(label)[0];
    const base = {
      label: new Uint8Array(size).fill(label),
      instance: new Uint16Array(size).fill(id),
    };
    return new Scene({ width, height, base, objects: [], styles: NO_STYLES });
  }

  get box(): Box {
    return { x: 0, y: 0, width: this.width, height: this.height };
  }

  contains(x: number, y: number): boolean {
    return x >= 0 && y >= 0 && x < this.width && y < this.height;
  }

  /** Bring the maps in step with base and objects within a box. */
  flatten(box: Box): void {
    for (let y = box.y; y < box.y + box.height; y++) {
      const start = y * this.width + box.x;
      const end = start + box.width;
      this.label.set(this.base.label.subarray(start, end), start);
      this.instance.set(this.base.instance.subarray(start, end), start);
    }
    for (const object of this.objects) {
      if (!overlap(object, box)) continue;
      forEachPixel(object, this, box, (index) => {
        this.label[index] = object.label;
        this.instance[index] = object.instance;
      });
    }
  }

  /** Which ids the maps show, and the class of each. */
  instances(): Map<number, number> {
    const found = new Map<number, number>();
    let last = -1;
    for (let i = 0; i < this.instance.length; i++) {
      const id = this.instance[i];
      if (id !== last) found.set((last = id), this.label[i]);
    }
    return found;
  }

  /** An id that nothing has, hidden or not: the next one of the class where there is room. */
  freshId(label: number): number {
    const used = new Set<number>(this.styles.instances.keys());
    for (const plane of [this.base.instance, this.instance]) {
      let last = -1;
      for (const id of plane) if (id !== last) used.add((last = id));
    }
    for (const object of this.objects) used.add(object.instance);
    return nextId(label, used);
  }

  /** The box around the pixels of an instance; null if it has none. */
  boxOf(instance: number): Box | null {
    let box: Box | null = null;
    for (let y = 0; y < this.height; y++) {
      const row = this.instance.subarray(y * this.width, (y + 1) * this.width);
      const first = row.indexOf(instance);
      if (first < 0) continue;
      box = union(box, { x: first, y, width: row.lastIndexOf(instance) - first + 1, height: 1 });
    }
    return box;
  }

  data(): SceneData {
    const { width, height, objects, styles } = this;
    return { width, height, base: this.base, objects, styles };
  }
}

/** The next free id of a class, else the first free one of all. Throws an Error if none is left. */
export function nextId(label: number, used: ReadonlySet<number>): number {
  const [first, last] = idRange(label);
  for (let id = last; id >= first; id--) {
    if (id === first && !used.has(id)) return id;
    if (used.has(id)) {
      if (id < last) return id + 1;
      break;
    }
  }
  for (let id = 1; id <= MAX_ID; id++) if (!used.has(id)) return id;
  throw new Error(`The scene has ${MAX_ID} objects; an instance map has no room for more.`);
}

function idRange(label: number): [number, number] {
  const first = label * IDS_PER_CLASS + 1;
  const last = first + IDS_PER_CLASS - 2;
  return last <= MAX_ID ? [first, last] : [1, MAX_ID];
}

/** Visit the pixels of an object that lie on the scene and within a box. */
export function forEachPixel(
  object: Placed,
  size: { width: number; height: number },
  within: Box,
  visit: (index: number) => void,
): void {
  const box = clip(within, size.width, size.height);
  const own = clip(object, size.width, size.height);
  if (!box || !own) return;
  const { mask } = object;
  const right = Math.min(box.x + box.width, own.x + own.width);
  const bottom = Math.min(box.y + box.height, own.y + own.height);
  for (let y = Math.max(box.y, own.y); y < bottom; y++) {
    const row = Math.floor(((y - object.y + 0.5) * mask.height) / object.height) * mask.width;
    for (let x = Math.max(box.x, own.x); x < right; x++) {
      const column = Math.floor(((x - object.x + 0.5) * mask.width) / object.width);
      if (mask.data[row + (object.flipped ? mask.width - 1 - column : column)]) {
        visit(y * size.width + x);
      }
    }
  }
}
