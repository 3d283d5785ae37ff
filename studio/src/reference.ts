// The look of an object in a reference photograph: its style, as the model's encoder sees it.

import { encode } from "fast-png";
import type { Api, Model } from "./api";
import type { Box } from "./geometry";
import { type Plane, planesOf, readPlane } from "./png";

/** Longest side at which a photograph is looked at. */
const LONGEST = 1024;

export interface Reference {
  /** The photograph as it is sent. */
  readonly photo: HTMLCanvasElement;
  /** Its label map, of the same size; null if it has none. */
  readonly label: Plane | null;
}

/** Read a photograph, and its label map if that was chosen too. Throws an Error for the user. */
export async function readReference(files: readonly File[], model: Model): Promise<Reference> {
  if (files.length > 2) throw new Error("Choose one photograph, and its label map if there is one.");
  const maps = await Promise.all(files.map((file) => labelOf(file, model)));
  const at = files.length === 2 ? maps.findIndex((map) => map !== null) : -1;
  if (files.length === 2 && at < 0) {
    throw new Error(`Neither ${files[0].name} nor ${files[1].name} is a label map of ${model.name}.`);
  }
  const label = maps[at] ?? null;
  const file = files[at === 0 ? 1 : 0];
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} is no picture that this browser can read.`);
  });
  const shrunk = Math.min(1, LONGEST / Math.max(picture.width, picture.height));
  const size = label ?? { width: Math.ceil(picture.width * shrunk), height: Math.ceil(picture.height * shrunk) };
  return { photo: drawn(picture, size.width, size.height), label };
}

/** The style of a class by the photograph's label map, or that of a part of the photograph. */
export async function styleOf(
  api: Api,
  model: Model,
  { photo, label }: Reference,
  kind: number,
  part: Box,
): Promise<readonly number[]> {
  const file = await pngOf(photo);
  const { width, height } = photo;
  if (label) {
    const { name } = model.classes[kind];
    const found = await api.encode(file, grey(width, height, Uint8Array.from(label.ids)), null);
    const code = found.class_styles[name];
    if (!code) throw new Error(`The photograph's label map has no ${name}.`);
    return code;
  }
  // Two objects of the class: the part that is asked for, and all the rest.
  const [INSIDE, OUTSIDE] = [1, 2];
  const instance = new Uint8Array(width * height).fill(OUTSIDE);
  for (let y = part.y; y < part.y + part.height; y++) {
    instance.fill(INSIDE, y * width + part.x, y * width + part.x + part.width);
  }
  const labels = new Uint8Array(width * height).fill(kind);
  const found = await api.encode(file, grey(width, height, labels), grey(width, height, instance));
  return found.styles[INSIDE];
}

async function labelOf(file: File, model: Model): Promise<Plane | null> {
  try {
    const plane = readPlane(new Uint8Array(await file.arrayBuffer()), file.name, model);
    planesOf(plane, plane, model); // it throws for ids that are no classes
    return plane;
  } catch {
    return null; // a photograph
  }
}

function drawn(picture: ImageBitmap, width: number, height: number): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { alpha: false });
  if (!context) throw new Error("The browser has no memory for the photograph.");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, width, height);
  return canvas;
}

function pngOf(canvas: HTMLCanvasElement): Promise<Blob> {
  return new Promise((resolve, reject) => {
    const failed = new Error("The browser has no memory for the photograph.");
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(failed)), "image/png");
  });
}

function grey(width: number, height: number, data: Uint8Array): Blob {
  return new Blob([new Uint8Array(encode({ width, height, data, depth: 8, channels: 1 }))]);
}
