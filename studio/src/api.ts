// The server's REST interface, as any other client uses it.

import { zlibSync } from "fflate";
import type { Box } from "./geometry";
import type { StylesFile } from "./styles";

export interface SceneClass {
  id: number;
  name: string;
  colour: [number, number, number];
  styles: number;
}

export interface Model {
  name: string;
  version: string;
  engine: string;
  classes: SceneClass[];
  ignore_labels: number[];
  size: { multiple: number; minimum: number; max_pixels: number; trained: [number, number] | null };
  style_channels: number;
  samples: boolean;
}

/** The server's own words about what went wrong. */
export class Problem extends Error {
  constructor(
    message: string,
    /** 0 = the server cannot be reached. */
    readonly status: number,
    readonly reason = "",
  ) {
    super(message);
  }
}

/** Maps that a request sends as plain numbers. */
export interface RawMaps {
  width: number;
  height: number;
  label: Uint8Array<ArrayBuffer>;
  instance: Uint16Array<ArrayBuffer>;
}

/** The codes of a photograph's objects, and the mean ones of its classes. */
export interface PhotoStyles {
  styles: Record<string, number[]>;
  class_styles: Record<string, number[]>;
}

const KEY = "hdsynth-key";

export class Api {
  key = sessionStorage.getItem(KEY) ?? "";

  /** Use a key from now on, until the browser's tab is closed. */
  remember(key: string): void {
    this.key = key;
    sessionStorage.setItem(KEY, key);
  }

  async models(): Promise<Model[]> {
    const response = await this.request("v1/models");
    return ((await response.json()) as { models: Model[] }).models;
  }

  async sample(seed: number, part: "label" | "instance"): Promise<Uint8Array> {
    const response = await this.request(`v1/samples/${seed}/${part}.png`);
    return new Uint8Array(await response.arrayBuffer());
  }

  /** Synthesise maps; the photograph comes back lossless. */
  async synthesize(maps: RawMaps, options: StylesFile, signal?: AbortSignal): Promise<Blob> {
    const { width, height, label, instance } = maps;
    const plane = { encoding: "raw_zlib", width, height };
    const form = new FormData();
    const described = {
      ...options,
      label: { ...plane, element_type: "uint8" },
      instance: { ...plane, element_type: "uint16" },
    };
    form.append("label", deflated(label));
    form.append("instance", deflated(new Uint8Array(instance.buffer)));
    form.append("options", JSON.stringify(described));
    const headers = { Accept: "image/png" };
    const response = await this.request("v1/synthesize", { method: "POST", body: form, headers, signal });
    return response.blob();
  }

  /** Take the styles of a photograph's objects; all files are pictures of one size. */
  async encode(photo: Blob, label: Blob, instance: Blob | null): Promise<PhotoStyles> {
    const form = new FormData();
    form.append("photo", photo);
    form.append("label", label);
    if (instance) form.append("instance", instance);
    const response = await this.request("v1/encode", { method: "POST", body: form });
    return (await response.json()) as PhotoStyles;
  }

  /** Fetch; an answer that is a problem becomes an Error. */
  async request(address: string, options: RequestInit = {}): Promise<Response> {
    const headers = new Headers(options.headers);
    if (this.key) headers.set("Authorization", `Bearer ${this.key}`);
    let response: Response;
    try {
      response = await fetch(address, { ...options, headers });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new Problem("The server does not answer.", 0);
    }
    if (response.ok) return response;
    const problem = (await response.json().catch(() => ({}))) as { detail?: string; reason?: string };
    const words = problem.detail ?? `the server answered with status ${response.status}`;
    throw new Problem(`${words[0].toUpperCase()}${words.slice(1)}.`, response.status, problem.reason);
  }
}

/** Cut a part out of maps, taking every `step`-th pixel. */
export function cutMaps(maps: RawMaps, box: Box, step: number): RawMaps {
  const [width, height] = [Math.ceil(box.width / step), Math.ceil(box.height / step)];
  const label = new Uint8Array(width * height);
  const instance = new Uint16Array(width * height);
  const middle = Math.floor(step / 2);
  for (let y = 0; y < height; y++) {
    const row = Math.min(box.y + y * step + middle, box.y + box.height - 1) * maps.width;
    for (let x = 0; x < width; x++) {
      const from = row + Math.min(box.x + x * step + middle, box.x + box.width - 1);
      label[y * width + x] = maps.label[from];
      instance[y * width + x] = maps.instance[from];
    }
  }
  return { width, height, label, instance };
}

function deflated(bytes: Uint8Array<ArrayBuffer>): Blob {
  return new Blob([zlibSync(bytes, { level: 3 })]);
}
