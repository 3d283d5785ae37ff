// Tools that do their work at a point: fill, pick, and the hand that moves the view.

import type { App } from "../app";
import { fill } from "../paint";
import type { View } from "../view";
import type { Input, Tool } from "./tool";

export class Fill implements Tool {
  readonly cursor = "crosshair";

  constructor(private readonly app: App) {}

  down(at: Input): void {
    const { app } = this;
    if (!app.scene.contains(at.x, at.y)) return;
    app.change("Fill", (edit) => {
      const paint = app.label === 0 ? { label: 0, instance: 0 } : app.paintAt(at.x, at.y);
      fill(edit, at, paint);
    });
  }

  move(): void {}
  up(): void {}
  cancel(): void {}
}

export class Pick implements Tool {
  readonly cursor = "crosshair";

  constructor(private readonly app: App) {}

  down(at: Input): void {
    const { scene } = this.app;
    if (!scene.contains(at.x, at.y)) return;
    const index = Math.floor(at.y) * scene.width + Math.floor(at.x);
    this.app.select(scene.instance[index]);
    this.app.choose({ label: scene.label[index] });
  }

  move(): void {}
  up(): void {}
  cancel(): void {}
}

export class Hand implements Tool {
  readonly cursor = "grab";
  private from: Input | null = null;

  constructor(private readonly view: View) {}

  down(at: Input): void {
    this.from = at;
  }

  move(points: readonly Input[]): void {
    const to = points.at(-1);
    // The view moves under the pointer, so that the point it took hold of stays below it.
    if (this.from && to) this.view.pan((to.x - this.from.x) / to.reach, (to.y - this.from.y) / to.reach);
  }

  up(): void {
    this.from = null;
  }

  cancel(): void {
    this.from = null;
  }
}
