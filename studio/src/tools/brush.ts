// Brush and eraser: strokes that the photograph follows.

import type { App } from "../app";
import type { Edit } from "../history";
import { type Paint, stroke } from "../paint";
import { type Input, type Tool, contrasting } from "./tool";

export class Brush implements Tool {
  readonly cursor = "none";
  private edit: Edit | null = null;
  private paint: Paint = { label: 0, instance: 0 };
  private last: Input | null = null;
  private hover: Input | null = null;

  constructor(
    private readonly app: App,
    private readonly erases: boolean,
  ) {}

  down(at: Input): void {
    try {
      this.paint = this.app.paintAt(at.x, at.y, this.erases ? 0 : this.app.label);
    } catch (error) {
      this.app.emit("problem", (error as Error).message);
      return;
    }
    this.edit = this.app.edit();
    this.last = at;
    this.draw([at]);
  }

  move(points: readonly Input[]): void {
    this.hover = points.at(-1) ?? null;
    if (this.edit) this.draw(points);
  }

  up(): void {
    const { edit } = this;
    this.edit = null;
    if (edit) this.app.finish(edit, this.erases ? "Erase" : "Paint");
  }

  cancel(): void {
    this.edit?.cancel();
    if (this.edit?.changed) this.app.live.settle(this.edit.changed);
    this.edit = null;
    this.hover = null;
  }

  readonly overlay = (context: CanvasRenderingContext2D, scale: number): void => {
    const { hover } = this;
    if (!hover) return;
    contrasting(context, scale, () => {
      context.beginPath();
      context.arc(hover.x, hover.y, this.app.brush / 2, 0, 2 * Math.PI);
      context.stroke();
    });
  };

  private draw(points: readonly Input[]): void {
    const { edit } = this;
    if (!edit) return;
    for (const point of points) {
      stroke(edit, this.last ?? point, point, this.app.brush, this.paint);
      this.last = point;
    }
    if (edit.flush() && edit.changed) this.app.live.preview(edit.changed);
  }
}
