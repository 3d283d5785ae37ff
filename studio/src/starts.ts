// Scenes to begin with: blank ones and drawn samples.

import { type Api, type Model, cutMaps } from "./api";
import { planesOf, readPlane } from "./png";
import { Scene } from "./scene";
import { NO_STYLES } from "./styles";

export const LARGEST_SEED = 2 ** 31 - 1;

/** Draw a sample scene; sides are 512 pixels, or what `side` says by leaving pixels out. */
export async function sampleScene(api: Api, model: Model, seed: number, side = 512): Promise<Scene> {
  const [label, instance] = await Promise.all(
    (["label", "instance"] as const).map(async (part) => readPlane(await api.sample(seed, part), part, model)),
  );
  const planes = planesOf(label, instance, model);
  const { width, height } = label;
  const step = Math.max(1, Math.round(Math.max(width, height) / side));
  const box = { x: 0, y: 0, width, height };
  const cut = cutMaps({ width, height, ...planes }, box, step);
  return new Scene({ width: cut.width, height: cut.height, base: cut, objects: [], styles: NO_STYLES });
}

export function randomSeed(): number {
  return Math.floor(Math.random() * 100_000);
}
