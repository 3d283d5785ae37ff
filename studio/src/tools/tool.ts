// What every tool does with the pointer.

import type { Point } from "../geometry";
import type { Overlay } from "../view";

export interface Input extends Point {
  readonly shift: boolean;
  readonly alt: boolean;
  /** Pixels of the scene per pixel of the screen. */
  readonly reach: number;
}

export interface Tool {
  readonly cursor: string;
  down(at: Input): void;
  /** All points since the last call, the newest last; also while nothing is pressed. */
  move(points: readonly Input[]): void;
  up(at: Input): void;
  /** Give up what is being drawn. */
  cancel(): void;
  doubleClick?(at: Input): void;
  enter?(): void;
  readonly overlay?: Overlay;
}

/** Draw lines that are seen on any ground. */
export function contrasting(context: CanvasRenderingContext2D, scale: number, draw: () => void): void {
  context.lineWidth = 3 / scale;
  context.strokeStyle = "rgb(0 0 0 / 0.6)";
  draw();
  context.lineWidth = 1.25 / scale;
  context.strokeStyle = "#fff";
  draw();
}
