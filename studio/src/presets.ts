// Looks for the whole scene: one code per class, by the names of the classes.

import type { Model } from "./api";
import type { Styles } from "./styles";

export interface Preset {
  readonly name: string;
  readonly codes: Readonly<Record<string, readonly number[]>>;
}

/** Written for codes of three channels, which hold about the mean colour of an object. */
const CHANNELS = 3;

const PRESETS: readonly Preset[] = [
  {
    name: "Night windows",
    codes: {
      unlabeled: [-0.9, -0.88, -0.8],
      facade: [-0.74, -0.74, -0.7],
      window: [0.62, 0.5, 0.1],
      shop: [0.5, 0.4, 0.05],
      street: [-0.83, -0.78, -0.8],
      vegetation: [-0.77, -0.77, -0.8],
    },
  },
  { name: "White facades", codes: { facade: [0.34, 0.34, 0.3] } },
  { name: "Brick facades", codes: { facade: [0.05, -0.3, -0.42] } },
  { name: "Clear sky", codes: { unlabeled: [-0.05, 0.2, 0.6] } },
];

/** The presets that a model has the classes and the kind of codes for. */
export function presetsFor(model: Model): Preset[] {
  if (model.style_channels !== CHANNELS) return [];
  const names = new Set(model.classes.map(({ name }) => name));
  return PRESETS.filter(({ codes }) => Object.keys(codes).every((name) => names.has(name)));
}

/** Give all objects of the preset's classes its styles. */
export function withPreset(styles: Styles, preset: Preset, model: Model, instances: Map<number, number>): Styles {
  const classes = new Map(styles.classes);
  for (const { id, name } of model.classes) {
    if (name in preset.codes) classes.set(id, preset.codes[name]);
  }
  const kept = [...styles.instances].filter(([instance]) => {
    const label = instances.get(instance);
    return label === undefined || !(model.classes[label]?.name in preset.codes);
  });
  return { ...styles, instances: new Map(kept), classes };
}
