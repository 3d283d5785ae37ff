// Rectangle and polygon: shapes that are painted once they are complete.

import type { App } from "../app";
import { type Point, between } from "../geometry";
import { polygon, rectangle } from "../paint";
import { type Input, type Tool, contrasting } from "./tool";

/** How near to its first point, in pixels of the screen, a click closes a polygon. */
const CLOSE = 10;

export class Rectangle implements Tool {
  readonly cursor = "crosshair";
  private from: Point | null = null;
  private to: Point | null = null;

  constructor(private readonly app: App) {}

  down(at: Input): void {
    this.from = this.to = at;
  }

  move(points: readonly Input[]): void {
    if (this.from) this.to = points.at(-1) ?? this.to;
  }

  up(at: Input): void {
    const { from } = this;
    this.cancel();
    if (!from) return;
    const middle = { x: (from.x + at.x) / 2, y: (from.y + at.y) / 2 };
    this.app.change("Rectangle", (edit) =>
      rectangle(edit, between(from, at), this.app.paintAt(middle.x, middle.y)),
    );
  }

  cancel(): void {
    this.from = this.to = null;
  }

  readonly overlay = (context: CanvasRenderingContext2D, scale: number): void => {
    if (!this.from || !this.to) return;
    const { x, y, width, height } = between(this.from, this.to);
    contrasting(context, scale, () => context.strokeRect(x, y, width, height));
  };
}

export class Polygon implements Tool {
  readonly cursor = "crosshair";
  private points: Point[] = [];
  private hover: Point | null = null;

  constructor(private readonly app: App) {}

  down(at: Input): void {
    const first = this.points[0];
    const isClosed =
      this.points.length > 2 && Math.hypot(at.x - first.x, at.y - first.y) < CLOSE * at.reach;
    if (isClosed) this.enter();
    else this.points.push(at);
  }

  move(points: readonly Input[]): void {
    this.hover = points.at(-1) ?? null;
  }

  up(): void {}

  doubleClick(): void {
    this.enter();
  }

  enter(): void {
    const { points } = this;
    this.cancel();
    if (points.length < 3) return;
    this.app.change("Polygon", (edit) =>
      polygon(edit, points, this.app.paintAt(points[0].x, points[0].y)),
    );
  }

  cancel(): void {
    this.points = [];
    this.hover = null;
  }

  readonly overlay = (context: CanvasRenderingContext2D, scale: number): void => {
    const { points, hover } = this;
    if (!points.length) return;
    contrasting(context, scale, () => {
      context.beginPath();
      for (const { x, y } of [...points, ...(hover ? [hover] : [])]) context.lineTo(x, y);
      context.stroke();
      context.beginPath();
      context.arc(points[0].x, points[0].y, 4 / scale, 0, 2 * Math.PI);
      context.stroke();
    });
  };
}
