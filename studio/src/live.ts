// Which photographs are asked for: small ones while the hand moves, then the whole one.

import { type Box, area, clip, grow } from "./geometry";
import type { Link, Shown, View } from "./link";
import type { Scene } from "./scene";

/** Pixels that a preview may have: about as many as follow the hand on a small machine. */
const PREVIEW_PIXELS = 96 * 96;
/** How far from a change its preview reaches. */
const MARGIN = 16;
/** A change of less than this part of the scene is shown before the whole scene is. */
const REGION_SHARE = 0.35;

export class Live {
  private scene: Scene | null = null;
  /** Set while the photograph of the whole scene has still to be asked for. */
  private owesFull = false;
  private newest: View | null = null;
  /** Whether the photograph shows the scene as it is. */
  isSettled = false;

  constructor(private readonly link: Link) {}

  open(scene: Scene): void {
    this.scene = scene;
    this.link.open(scene);
    this.full(performance.now());
  }

  /** The scene changes under the hand; show what it does, as well as there is time for. */
  preview(box: Box): void {
    const region = this.around(box);
    if (!region) return;
    const reduction = Math.min(8, Math.max(1, Math.ceil(Math.sqrt(area(region) / PREVIEW_PIXELS))));
    this.owesFull = true;
    this.ask({ region, reduction, isPreview: true, since: performance.now() });
  }

  /** The change is made; show it, then all of the scene. null = only styles have changed. */
  settle(box: Box | null): void {
    const since = performance.now();
    const region = box && this.around(box);
    if (region && this.scene && area(region) < REGION_SHARE * area(this.scene.box)) {
      this.owesFull = true;
      this.ask({ region, reduction: 1, isPreview: false, since });
    } else {
      this.full(since);
    }
  }

  /** Take note of a photograph that was shown; return whether the scene is settled now. */
  shown({ view }: Shown): boolean {
    if (view !== this.newest) return false;
    if (view.region) {
      if (this.owesFull && !view.isPreview) this.full(view.since);
      return false;
    }
    this.isSettled = true;
    return true;
  }

  /** Take note of a frame that brought none. */
  dropped(view: View): void {
    if (view === this.newest && view.region && !view.isPreview) this.full(view.since);
  }

  private full(since: number): void {
    this.owesFull = false;
    this.ask({ region: null, reduction: 1, isPreview: false, since });
  }

  private ask(view: View): void {
    this.newest = view;
    this.isSettled = false;
    this.link.request(view);
  }

  private around(box: Box): Box | null {
    return this.scene && clip(grow(box, MARGIN), this.scene.width, this.scene.height);
  }
}
