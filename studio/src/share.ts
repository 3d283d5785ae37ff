// A scene in an address: whoever opens it sees the same scene, and no server keeps anything.

import { strFromU8, strToU8, unzlibSync, zlibSync } from "fflate";
import type { Model } from "./api";
import { fromAddress, toAddress } from "./base64";
import { shownStyles } from "./files";
import { planesOf } from "./png";
import { Scene } from "./scene";
import { type StylesFile, fromFile } from "./styles";

const PREFIX = "#scene=";
/** Addresses longer than this are cut off by some mail and chat programs. */
export const LONG_ADDRESS = 32_000;

interface Head {
  width: number;
  height: number;
  styles: StylesFile;
}

export function permalink(scene: Scene): string {
  const head: Head = { width: scene.width, height: scene.height, styles: shownStyles(scene) };
  const text = strToU8(JSON.stringify(head));
  const { label, instance } = scene;
  const length = new Uint8Array(new Uint32Array([text.length]).buffer);
  // Each byte of the ids by itself: runs of equal bytes pack best.
  const [low, high] = [instance.map((id) => id & 255), instance.map((id) => id >> 8)];
  const all = [length, text, label, Uint8Array.from(low), Uint8Array.from(high)];
  const packed = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  all.reduce((at, part) => (packed.set(part, at), at + part.length), 0);
  const address = new URL(location.href);
  address.hash = PREFIX + toAddress(zlibSync(packed, { level: 9 }));
  return address.href;
}

/** Read the scene of an address; null if it names none. Throws an Error if it is damaged. */
export function sceneOf(hash: string, model: Model): Scene | null {
  if (!hash.startsWith(PREFIX)) return null;
  try {
    const packed = unzlibSync(fromAddress(hash.slice(PREFIX.length)));
    const length = new DataView(packed.buffer).getUint32(0, true);
    const head = JSON.parse(strFromU8(packed.subarray(4, 4 + length))) as Head;
    const size = head.width * head.height;
    const [label, low, high] = [0, 1, 2].map((i) => {
      const start = 4 + length + i * size;
      return packed.subarray(start, start + size);
    });
    if (high.length !== size) throw new Error("it ends too early");
    const instance = Uint16Array.from(low, (id, i) => id | (high[i] << 8));
    const plane = { width: head.width, height: head.height, palette: null };
    const base = planesOf({ ...plane, ids: label }, { ...plane, ids: instance }, model);
    const styles = fromFile(head.styles, model.classes.map((entry) => entry.name));
    return new Scene({ width: head.width, height: head.height, base, objects: [], styles });
  } catch (error) {
    throw new Error(`The scene in this address cannot be read: ${(error as Error).message}`);
  }
}
