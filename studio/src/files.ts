// Scenes as files: a label PNG, an instance PNG and the styles as JSON, alone or in one zip.

import { strFromU8, strToU8, unzipSync, zipSync } from "fflate";
import type { Model } from "./api";
import { fromBase64, toBase64 } from "./base64";
import { instancePng, labelPng, planesOf, readPlane } from "./png";
import { type Placed, Scene, type Planes } from "./scene";
import { NO_STYLES, type Styles, type StylesFile, fromFile, toFile } from "./styles";

/** A file by its name. */
export type Files = Record<string, Uint8Array>;

interface LooseFile extends Omit<Placed, "mask"> {
  mask: { width: number; height: number; data: string };
}

export function stylesJson(scene: Scene): string {
  return JSON.stringify(shownStyles(scene), null, 1);
}

/** The styles of what is to be seen: the server refuses those of other objects. */
export function shownStyles(scene: Scene): StylesFile {
  return toFile(scene.styles, new Set(scene.instances().keys()));
}

/**
 * Pack a scene. The three files outside of `loose` are what the server takes; those in there
 * keep what lies below the objects that can still be moved.
 */
export function sceneZip(scene: Scene, model: Model): Uint8Array<ArrayBuffer> {
  const files: Files = {
    "label.png": labelPng(scene, model),
    "instance.png": instancePng(scene),
    "styles.json": strToU8(stylesJson(scene)),
  };
  if (scene.objects.length) {
    const base = new Scene({ ...scene.data(), objects: [] });
    files["loose/label.png"] = labelPng(base, model);
    files["loose/instance.png"] = instancePng(base);
    const objects: LooseFile[] = scene.objects.map((object) => ({
      ...object,
      mask: { ...object.mask, data: toBase64(object.mask.data) },
    }));
    files["loose/objects.json"] = strToU8(JSON.stringify(objects));
  }
  // Without the time of day: the same scene gives the same file.
  return new Uint8Array(zipSync(files, { mtime: "1980-01-01T00:00:00" }));
}

/** What files turn out to be: a scene, or styles for the one that is open. */
export type Opened = { scene: Scene } | { styles: Styles };

/** Read files that a user chose or dropped. Throws an Error with words for the user. */
export async function openFiles(chosen: readonly File[], model: Model): Promise<Opened> {
  const files: Files = {};
  for (const file of chosen) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (!isZip(bytes)) files[file.name] = bytes;
    else Object.assign(files, unzipped(bytes, file.name));
  }
  return openAll(files, model);
}

export function openAll(files: Files, model: Model): Opened {
  const names = Object.keys(files);
  const styles = stylesOf(files, model);
  const pngs = names.filter((name) => isPng(files[name]) && !name.startsWith("loose/"));
  if (!pngs.length) {
    if (styles) return { styles };
    throw new Error(`${names[0] ?? "The file"} is neither a PNG map, nor styles as JSON, nor a zip of those.`);
  }
  const instanceName = pngs.length > 1 ? pngs.find((name) => isInstance(name, files[name])) : undefined;
  const labelName = pngs.find((name) => name !== instanceName) ?? pngs[0];
  const planes = planesFrom(files, labelName, instanceName, model);
  const { width, height } = readPlane(files[labelName], labelName, model);
  const pixels = width * height;
  if (pixels > model.size.max_pixels) {
    throw new Error(`${labelName} has ${pixels} pixels; the server takes up to ${model.size.max_pixels}.`);
  }
  const data = { width, height, base: planes, objects: [], styles: styles ?? NO_STYLES };
  const loose = "loose/objects.json" in files ? looseOf(files, model) : {};
  return { scene: new Scene({ ...data, ...loose }) };
}

function planesFrom(files: Files, label: string, instance: string | undefined, model: Model): Planes {
  return planesOf(
    readPlane(files[label], label, model),
    instance === undefined ? null : readPlane(files[instance], instance, model),
    model,
  );
}

function looseOf(files: Files, model: Model): { base: Planes; objects: Placed[] } {
  const base = planesFrom(files, "loose/label.png", "loose/instance.png", model);
  const stored = JSON.parse(strFromU8(files["loose/objects.json"])) as LooseFile[];
  const objects = stored.map((object) => ({
    ...object,
    mask: { ...object.mask, data: fromBase64(object.mask.data) },
  }));
  return { base, objects };
}

function stylesOf(files: Files, model: Model): Styles | null {
  const name = Object.keys(files).find((key) => /^[^/]*\.json$/i.test(key));
  if (!name) return null;
  let parsed: unknown;
  try {
    parsed = JSON.parse(strFromU8(files[name]));
  } catch {
    throw new Error(`${name} is no JSON.`);
  }
  const names = model.classes.map((entry) => entry.name);
  return fromFile(parsed, names);
}

function unzipped(bytes: Uint8Array, name: string): Files {
  try {
    return unzipSync(bytes);
  } catch (error) {
    throw new Error(`${name} cannot be unpacked: ${(error as Error).message}.`);
  }
}

function isInstance(name: string, file: Uint8Array): boolean {
  return /inst/i.test(name) || file[24] === 16; // the bit depth of a PNG file
}

function isPng(file: Uint8Array): boolean {
  return file.length > 24 && file[0] === 0x89 && file[1] === 0x50;
}

function isZip(file: Uint8Array): boolean {
  return file[0] === 0x50 && file[1] === 0x4b;
}
