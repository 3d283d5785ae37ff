// Label and instance maps as PNG files, byte for byte as the server reads them.

import { type DecodedPng, decode, encode } from "fast-png";
import type { Model } from "./api";
import { type Planes, type Scene, nextId } from "./scene";
import { connected } from "./paint";

/** Bits per id; ids are read from files of any depth. */
export type Ids = Uint8Array | Uint16Array;

export interface Plane {
  width: number;
  height: number;
  ids: Ids;
  palette: number[][] | null;
}

/** Write the label map with the model's colours as its palette. */
export function labelPng(scene: Scene, model: Model): Uint8Array<ArrayBuffer> {
  const { width, height, label: data } = scene;
  const palette = Array.from({ length: 256 }, (_, id) => [...(model.classes[id]?.colour ?? [128, 128, 128])]);
  return bytes(encode({ width, height, data, depth: 8, channels: 1, palette }));
}

/** Write the instance map as grey of 16 bits. */
export function instancePng(scene: Scene): Uint8Array<ArrayBuffer> {
  const { width, height, instance: data } = scene;
  return bytes(encode({ width, height, data, depth: 16, channels: 1 }));
}

/** Read a map. Throws an Error with words for the user. */
export function readPlane(file: Uint8Array, name: string, model: Model): Plane {
  let png: DecodedPng;
  try {
    png = decode(file);
  } catch (error) {
    throw new Error(`${name} is no PNG file that can be read: ${(error as Error).message}.`);
  }
  const { width, height, palette = null } = png;
  if (png.channels === 1) return { width, height, palette, ids: ids(png) };
  const classes = coloursToLabels(png, model);
  if (!classes) {
    throw new Error(
      `${name} is a colour picture. A map has one channel (grey of 8 or 16 bits, or a palette), ` +
        "or the colours of the classes and no others.",
    );
  }
  return { width, height, palette: null, ids: classes };
}

/** Make maps of planes; regions become objects where there is no instance map. */
export function planesOf(label: Plane, instance: Plane | null, model: Model): Planes {
  const ignored = new Set(model.ignore_labels);
  for (const id of new Set(label.ids)) {
    if (!(id in model.classes) && !ignored.has(id)) {
      throw new Error(
        `The label map holds class ${id}; ${model.name} has the classes 0 to ${model.classes.length - 1}.`,
      );
    }
  }
  if (instance && (instance.width !== label.width || instance.height !== label.height)) {
    throw new Error(
      `The instance map is ${instance.width} × ${instance.height}, the label map ` +
        `${label.width} × ${label.height}; both must show the same scene at the same size.`,
    );
  }
  const labels = Uint8Array.from(label.ids);
  const { width, height } = label;
  const numbered = instance
    ? oneClassEach(labels, Uint16Array.from(instance.ids))
    : regions(labels, width, height);
  return { label: labels, instance: numbered };
}

/** Objects are of one class: where an id has several, all but the first get ids of their own. */
function oneClassEach(label: Uint8Array, instance: Uint16Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  const classOf = new Map<number, number>();
  const renamed = new Map<number, number>();
  const used = new Set(instance);
  for (let i = 0; i < instance.length; i++) {
    const id = instance[i];
    const known = classOf.get(id);
    if (known === undefined) classOf.set(id, label[i]);
    else if (known !== label[i]) {
      const key = id * 256 + label[i];
      let fresh = renamed.get(key);
      if (fresh === undefined) {
        fresh = nextId(label[i], used);
        used.add(fresh);
        renamed.set(key, fresh);
      }
      instance[i] = fresh;
    }
  }
  return instance;
}

function regions(label: Uint8Array<ArrayBuffer>, width: number, height: number): Uint16Array<ArrayBuffer> {
  const instance = new Uint16Array(label.length);
  const done = new Uint8Array(label.length);
  const used = new Set<number>();
  const flat = { width, height, label, instance: new Uint16Array(label.length) };
  for (let i = 0; i < label.length; i++) {
    if (done[i]) continue;
    const id = nextId(label[i], used);
    used.add(id);
    for (const index of connected(flat, i % width, Math.floor(i / width))) {
      instance[index] = id;
      done[index] = 1;
    }
  }
  return instance;
}

/** Palettes and grey of fewer than 8 bits have several pixels in a byte. */
function ids(png: DecodedPng): Ids {
  const { width, height, depth, data } = png;
  if (depth >= 8) return data as Ids;
  const found = new Uint8Array(width * height);
  const perRow = Math.ceil((width * depth) / 8);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      const shift = 8 - depth - (bit % 8);
      found[y * width + x] = (data[y * perRow + (bit >> 3)] >> shift) & ((1 << depth) - 1);
    }
  }
  return found;
}

function coloursToLabels(png: DecodedPng, model: Model): Uint8Array | null {
  const { data, channels, depth, width, height } = png;
  if (channels < 3 || depth !== 8) return null;
  const known = new Map(model.classes.map(({ id, colour: [r, g, b] }) => [(r << 16) | (g << 8) | b, id]));
  const found = new Uint8Array(width * height);
  for (let i = 0; i < found.length; i++) {
    const at = i * channels;
    const id = known.get((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
    if (id === undefined) return null;
    found[i] = id;
  }
  return found;
}

function bytes(file: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(file);
}
