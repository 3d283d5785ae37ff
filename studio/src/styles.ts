// Which style every object gets, in the terms of the server's `options`. Never changed in place.

/** The number of one of the class's styles, or a code. */
export type Plain = number | readonly number[];
export type Wish = Plain | { readonly between: readonly [Plain, Plain]; readonly at: number };

export interface Styles {
  readonly seed: number;
  /** Instance id -> style. */
  readonly instances: ReadonlyMap<number, Wish>;
  /** Label id -> style of the objects that `instances` leaves out. */
  readonly classes: ReadonlyMap<number, Wish>;
}

/** What a file of styles, and the field `options` of a request, hold. */
export interface StylesFile {
  seed?: number;
  styles?: Record<string, Wish>;
  class_styles?: Record<string, Wish>;
}

export const NO_STYLES: Styles = { seed: 0, instances: new Map(), classes: new Map() };

export function withInstance(styles: Styles, instance: number, wish: Wish | undefined): Styles {
  return { ...styles, instances: changed(styles.instances, instance, wish) };
}

/** Give a style to a class, and take their own one from the instances named. */
export function withClass(
  styles: Styles,
  label: number,
  wish: Wish | undefined,
  instances: Iterable<number>,
): Styles {
  const kept = new Map(styles.instances);
  for (const instance of instances) kept.delete(instance);
  return { ...styles, instances: kept, classes: changed(styles.classes, label, wish) };
}

export function isBetween(wish: Wish | undefined): wish is Exclude<Wish, Plain> {
  return typeof wish === "object" && "between" in wish;
}

/** A place between two styles. The server counts in 32 bits, over the stream as in files. */
export function mix(first: Plain, second: Plain, at: number): Wish {
  return { between: [first, second], at: Math.fround(at) };
}

/** As `options` of a request, for the instances that are there: others would be refused. */
export function toFile(styles: Styles, present: ReadonlySet<number>): StylesFile {
  const shown = [...styles.instances].filter(([instance]) => present.has(instance));
  return {
    seed: styles.seed,
    styles: Object.fromEntries(shown),
    class_styles: Object.fromEntries(styles.classes),
  };
}

/** Read what `toFile` wrote, or a user did by hand. Throws an Error with words for the user. */
export function fromFile(file: unknown, names: readonly string[]): Styles {
  if (typeof file !== "object" || file === null) throw new Error("styles: is not a JSON object.");
  const { seed = 0, styles = {}, class_styles = {} } = file as StylesFile;
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new Error(`styles: seed is a whole number from 0, not ${JSON.stringify(seed)}.`);
  }
  const instances = Object.entries(styles).map(([key, wish]) => {
    if (!/^\d+$/.test(key)) throw new Error(`styles: ${key} is no instance id.`);
    return [Number(key), checked(wish, key)] as const;
  });
  const classes = Object.entries(class_styles).map(([key, wish]) => {
    const label = names.includes(key) ? names.indexOf(key) : Number(key);
    if (!(label in names)) throw new Error(`styles: the model has no class ${key}.`);
    return [label, checked(wish, key)] as const;
  });
  return { seed, instances: new Map(instances), classes: new Map(classes) };
}

function checked(wish: unknown, key: string): Wish {
  const isCode = (value: unknown) =>
    Array.isArray(value) && value.every((n) => typeof n === "number" && Math.abs(n) <= 1);
  const isPlain = (value: unknown) => (Number.isInteger(value) && Number(value) >= 0) || isCode(value);
  if (isPlain(wish)) return wish as Plain;
  const { between, at } = (wish ?? {}) as { between?: unknown; at?: unknown };
  const isPair = Array.isArray(between) && between.length === 2 && between.every(isPlain);
  if (isPair && typeof at === "number" && at >= 0 && at <= 1) {
    return mix(between[0] as Plain, between[1] as Plain, at);
  }
  throw new Error(`styles: the style of ${key} is neither a number, a code nor a mix of two.`);
}

function changed<K, V>(map: ReadonlyMap<K, V>, key: K, value: V | undefined): ReadonlyMap<K, V> {
  const copy = new Map(map);
  if (value === undefined) copy.delete(key);
  else copy.set(key, value);
  return copy;
}
