// What an object would look like in each style of its class: real photographs of its place.

import { type Api, type Model, cutMaps } from "./api";
import { type Box, clip, grow } from "./geometry";
import type { Scene } from "./scene";
import { type Styles, type Wish, toFile, withClass, withInstance } from "./styles";

/** Pixels around an object that are synthesised with it. */
const CONTEXT = 24;
/** Longest side of a crop in pixels; larger objects are synthesised smaller. */
const LONGEST = 160;
const SHORTEST = 48;
const AT_ONCE = 2;

export interface Target {
  readonly instance: number;
  readonly label: number;
  /** Whether the style is for all objects of the class. */
  readonly isClass: boolean;
}

export interface Crop {
  readonly wish: Wish | undefined;
  readonly photo: Blob;
}

/** The styles of a scene with another one for a target. */
export function restyled(styles: Styles, target: Target, wish: Wish | undefined, scene: Scene): Styles {
  if (!target.isClass) return withInstance(styles, target.instance, wish);
  const all = [...scene.instances()].filter(([, label]) => label === target.label);
  return withClass(styles, target.label, wish, all.map(([instance]) => instance));
}

/** Synthesise the place of a target in several styles, and hand each over as it is done. */
export async function synthesizeCrops(
  api: Api,
  model: Model,
  scene: Scene,
  target: Target,
  wishes: readonly (Wish | undefined)[],
  onCrop: (index: number, crop: Crop) => void,
  signal: AbortSignal,
): Promise<void> {
  const box = cropBox(scene, target.instance, model.size.multiple);
  if (!box) return;
  const step = Math.ceil(Math.max(box.width, box.height) / LONGEST);
  const maps = cutMaps(scene, box, step);
  const present = new Set(maps.instance);
  const waiting = wishes.map((wish, index) => ({ wish, index }));
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const options = toFile(restyled(scene.styles, target, next.wish, scene), present);
      const photo = await api.synthesize(maps, options, signal);
      onCrop(next.index, { wish: next.wish, photo });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

function cropBox(scene: Scene, instance: number, multiple: number): Box | null {
  const own = scene.boxOf(instance);
  if (!own) return null;
  const missing = Math.max(0, SHORTEST - Math.min(own.width, own.height)) / 2;
  const box = clip(grow(own, CONTEXT + missing), scene.width, scene.height);
  if (!box) return null;
  // It begins where the model's grid does, so that the crop looks as in the whole photograph.
  const [dx, dy] = [box.x % multiple, box.y % multiple];
  return { x: box.x - dx, y: box.y - dy, width: box.width + dx, height: box.height + dy };
}
