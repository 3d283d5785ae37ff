// Objects to place, cut out of sample scenes.

import type { Api, Model } from "./api";
import { type Box, area } from "./geometry";
import { cutMask } from "./objects";
import { readPlane } from "./png";
import type { Mask } from "./scene";

export interface LibraryObject {
  readonly label: number;
  readonly mask: Mask;
}

const SEEDS = [4, 7, 12, 23];
const PER_CLASS = 6;
/** Objects are kept if they are neither specks nor most of the picture. */
const [SMALLEST, LARGEST] = [120, 0.12];
/** Of their box they fill at least this much; what is left of a wall between leaves does not. */
const FILLED = 0.25;
/** Kept apart: two objects that cover this much of each other are the same to an artist. */
const ALIKE = 0.85;

/** Collect objects of every class. */
export async function loadLibrary(api: Api, model: Model): Promise<LibraryObject[]> {
  const scenes = await Promise.all(SEEDS.map((seed) => objectsOf(api, model, seed)));
  const found = scenes.flat();
  return model.classes.flatMap(({ id }) => {
    const kept: LibraryObject[] = [];
    for (const object of found) {
      if (kept.length === PER_CLASS) break;
      if (object.label === id && !kept.some((k) => isAlike(k.mask, object.mask))) kept.push(object);
    }
    return kept;
  });
}

async function objectsOf(api: Api, model: Model, seed: number): Promise<LibraryObject[]> {
  const [label, instance] = await Promise.all(
    (["label", "instance"] as const).map(async (part) => readPlane(await api.sample(seed, part), part, model)),
  );
  const { width, height } = instance;
  const ids = Uint16Array.from(instance.ids);
  const boxes = new Map<number, { box: Box; pixels: number; label: number }>();
  ids.forEach((id, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    const known = boxes.get(id);
    if (!known) {
      boxes.set(id, { box: { x, y, width: 1, height: 1 }, pixels: 1, label: label.ids[i] });
      return;
    }
    const { box } = known;
    const left = Math.min(box.x, x);
    known.pixels++;
    known.box = {
      x: left,
      y: box.y,
      width: Math.max(box.x + box.width, x + 1) - left,
      height: y + 1 - box.y,
    };
  });
  // What touches the border is cut off there.
  const isWhole = (box: Box) =>
    box.x > 0 && box.y > 0 && box.x + box.width < width && box.y + box.height < height;
  return [...boxes]
    .filter(([id, { box, pixels }]) => id && isWhole(box) && pixels >= FILLED * area(box))
    .filter(([, { pixels }]) => pixels >= SMALLEST && pixels < LARGEST * ids.length)
    .sort(([, a], [, b]) => b.pixels - a.pixels)
    .map(([id, { box, label: kind }]) => ({ label: kind, mask: cutMask(ids, width, box, id) }));
}

function isAlike(a: Mask, b: Mask): boolean {
  const [small, large] = [Math.min(a.width, b.width), Math.max(a.width, b.width)];
  const [low, high] = [Math.min(a.height, b.height), Math.max(a.height, b.height)];
  return small / large > ALIKE && low / high > ALIKE;
}
