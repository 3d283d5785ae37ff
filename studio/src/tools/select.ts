// Select an object; move it, or scale it by its corners.

import type { App } from "../app";
import type { Box, Point } from "../geometry";
import type { Edit } from "../history";
import { lift, replaceObject, scaledBox } from "../objects";
import { type Input, type Tool, contrasting } from "./tool";

/** Pixels of the screen. */
const [HANDLE, GRIP, THRESHOLD] = [4, 10, 3];

export class Select implements Tool {
  readonly cursor = "default";
  private from: Input | null = null;
  private start: Box | null = null;
  /** The corner that stays where it is while the object is scaled. */
  private anchor: Point | null = null;
  private edit: Edit | null = null;

  constructor(private readonly app: App) {}

  down(at: Input): void {
    const { app } = this;
    const box = this.box();
    const corner = box && corners(box).findIndex((c) => near(c, at, GRIP * at.reach));
    if (box && corner !== null && corner >= 0) {
      this.anchor = corners(box)[3 - corner];
      this.from = at;
      return;
    }
    const id = this.instanceAt(at);
    // Only what is selected already is moved: a careless drag does not take a house away.
    if (id !== null && id === app.selected) this.from = at;
    else app.select(id);
  }

  move(points: readonly Input[]): void {
    const to = points.at(-1);
    const { from, app } = this;
    if (!from || !to || app.selected === null) return;
    if (!this.edit) {
      if (Math.hypot(to.x - from.x, to.y - from.y) < THRESHOLD * to.reach) return;
      this.edit = app.edit();
      const object = lift(this.edit, app.selected);
      if (!object) {
        app.emit("problem", "This object is all there is; it cannot be moved.");
        this.cancel();
        return;
      }
      this.start = object;
    }
    const { start } = this;
    if (!start) return;
    const moved = this.anchor
      ? scaledBox(start, this.anchor, to, !to.shift)
      : { x: Math.round(start.x + to.x - from.x), y: Math.round(start.y + to.y - from.y) };
    replaceObject(this.edit, app.selected, moved);
    if (this.edit.flush() && this.edit.changed) app.live.preview(this.edit.changed);
  }

  up(): void {
    const { edit } = this;
    const name = this.anchor ? "Scale" : "Move";
    this.release();
    if (edit) this.app.finish(edit, name);
  }

  cancel(): void {
    this.edit?.cancel();
    if (this.edit?.changed) this.app.live.settle(this.edit.changed);
    this.release();
  }

  readonly overlay = (context: CanvasRenderingContext2D, scale: number): void => {
    const box = this.box();
    if (!box) return;
    contrasting(context, scale, () => context.strokeRect(box.x, box.y, box.width, box.height));
    const size = HANDLE / scale;
    context.fillStyle = "#fff";
    for (const { x, y } of corners(box)) {
      context.fillRect(x - size, y - size, 2 * size, 2 * size);
      context.lineWidth = 1 / scale;
      context.strokeStyle = "#000";
      context.strokeRect(x - size, y - size, 2 * size, 2 * size);
    }
  };

  private box(): Box | null {
    const { scene, selected } = this.app;
    if (selected === null) return null;
    return scene.objects.find((o) => o.instance === selected) ?? scene.boxOf(selected);
  }

  private instanceAt({ x, y }: Point): number | null {
    const { scene } = this.app;
    if (!scene.contains(x, y)) return null;
    return scene.instance[Math.floor(y) * scene.width + Math.floor(x)];
  }

  private release(): void {
    this.from = this.start = this.anchor = this.edit = null;
  }
}

function corners({ x, y, width, height }: Box): Point[] {
  const [right, bottom] = [x + width, y + height];
  return [{ x, y }, { x: right, y }, { x, y: bottom }, { x: right, y: bottom }];
}

function near(a: Point, b: Point, reach: number): boolean {
  return Math.abs(a.x - b.x) < reach && Math.abs(a.y - b.y) < reach;
}
