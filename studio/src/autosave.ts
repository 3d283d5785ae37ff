// The browser keeps the scene from one visit to the next.

import { get, set } from "idb-keyval";
import { Scene, type SceneData } from "./scene";

const DELAY_MS = 400;
const KEY = "scene";

export class Autosave {
  private timer = 0;
  private scene: Scene | null = null;

  constructor(private readonly onSaved: (works: boolean) => void) {
    addEventListener("pagehide", () => void this.now());
    addEventListener("visibilitychange", () => void this.now());
  }

  /** Save soon; several changes in a row are saved once. */
  soon(scene: Scene): void {
    this.scene = scene;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.now(), DELAY_MS);
  }

  private async now(): Promise<void> {
    const { scene } = this;
    if (!scene) return;
    this.scene = null;
    clearTimeout(this.timer);
    try {
      await set(KEY, scene.data());
      this.onSaved(true);
    } catch {
      this.onSaved(false); // private windows may have no room
    }
  }
}

/** The scene of the last visit, if it fits the model. */
export async function lastScene(classes: number, maxPixels: number): Promise<Scene | null> {
  const data = await get<SceneData>(KEY).catch(() => undefined);
  if (!data || data.width * data.height > maxPixels) return null;
  return data.base.label.every((id) => id < classes) ? new Scene(data) : null;
}
