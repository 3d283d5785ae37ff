// From pointer events on the canvas to the tool in hand: mouse, pen, and one or two fingers.

import type { App, ToolName } from "./app";
import type { Point } from "./geometry";
import { Brush } from "./tools/brush";
import { Fill, Hand, Pick } from "./tools/points";
import { Select } from "./tools/select";
import { Polygon, Rectangle } from "./tools/shapes";
import type { Input, Tool } from "./tools/tool";
import type { View } from "./view";

export class Pointer {
  private readonly tools: Record<ToolName, Tool>;
  private readonly fingers = new Map<number, Point>();
  private active: Tool | null = null;
  private isOnDivider = false;
  isSpaceDown = false;

  constructor(
    private readonly app: App,
    private readonly view: View,
    private readonly onHover: (at: Point | null) => void,
  ) {
    this.tools = {
      select: new Select(app),
      brush: new Brush(app, false),
      eraser: new Brush(app, true),
      rectangle: new Rectangle(app),
      polygon: new Polygon(app),
      fill: new Fill(app),
      pick: new Pick(app),
      hand: new Hand(view),
    };
    const { canvas } = view;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.giveUp(event));
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("dblclick", (event) => this.tool.doubleClick?.(this.input(event)));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    app.on("choice", () => this.refresh());
    app.on("open", () => this.cancel());
  }

  get tool(): Tool {
    return this.tools[this.isSpaceDown ? "hand" : this.app.tool];
  }

  /** Show the cursor and the marks of the tool in hand. */
  refresh(): void {
    this.view.canvas.style.cursor = this.tool.cursor;
    this.view.redraw();
  }

  cancel(): void {
    for (const tool of Object.values(this.tools)) tool.cancel();
    this.active = null;
    this.view.redraw();
  }

  enter(): void {
    this.tool.enter?.();
    this.view.redraw();
  }

  /** What is drawn over the scene. */
  readonly overlay = (context: CanvasRenderingContext2D, scale: number): void => {
    (this.active ?? this.tool).overlay?.(context, scale);
  };

  private down(event: PointerEvent): void {
    const { canvas } = this.view;
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    event.preventDefault();
    const at = this.point(event);
    if (event.pointerType === "touch") {
      this.fingers.set(event.pointerId, at);
      if (this.fingers.size > 1) {
        this.active?.cancel();
        this.active = null;
        return;
      }
    }
    if (this.view.isOnDivider(at)) {
      this.isOnDivider = true;
      return;
    }
    if (event.button > 1) return;
    this.active = event.button === 1 ? this.tools.hand : this.tool;
    this.active.down(this.input(event));
    this.view.redraw();
  }

  private move(event: PointerEvent): void {
    const at = this.point(event);
    if (this.isOnDivider) {
      this.view.moveDivider(at.x);
      return;
    }
    if (this.fingers.size > 1) {
      this.pinch(event.pointerId, at);
      return;
    }
    if (!this.active) {
      this.view.canvas.style.cursor = this.view.isOnDivider(at) ? "ew-resize" : this.tool.cursor;
    }
    const all = event.getCoalescedEvents();
    (this.active ?? this.tool).move((all.length ? all : [event]).map((each) => this.input(each)));
    this.onHover(this.view.toScene(at));
    this.view.redraw();
  }

  private up(event: PointerEvent): void {
    this.fingers.delete(event.pointerId);
    this.isOnDivider = false;
    this.active?.up(this.input(event));
    this.active = null;
    this.view.redraw();
  }

  private giveUp(event: PointerEvent): void {
    this.fingers.delete(event.pointerId);
    this.isOnDivider = false;
    this.active?.cancel();
    this.active = null;
  }

  private leave(): void {
    if (this.active) return;
    this.tool.move([]);
    this.onHover(null);
    this.view.redraw();
  }

  private pinch(id: number, at: Point): void {
    const before = [...this.fingers.values()];
    this.fingers.set(id, at);
    const after = [...this.fingers.values()];
    const [from, to] = [middle(before), middle(after)];
    this.view.pan(to.x - from.x, to.y - from.y);
    const ratio = distance(after) / Math.max(1, distance(before));
    this.view.zoom(ratio, to);
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    if (event.ctrlKey || event.metaKey) {
      this.view.zoom(Math.exp(-event.deltaY * unit * 0.004), this.point(event));
    } else if (event.shiftKey) this.view.pan(-event.deltaY * unit, 0);
    else this.view.pan(-event.deltaX * unit, -event.deltaY * unit);
  }

  private point(event: MouseEvent): Point {
    const box = this.view.canvas.getBoundingClientRect();
    return { x: event.clientX - box.x, y: event.clientY - box.y };
  }

  private input(event: MouseEvent): Input {
    const at = this.view.toScene(this.point(event));
    return { ...at, shift: event.shiftKey, alt: event.altKey, reach: 1 / this.view.pixelScale };
  }
}

function middle([a, b]: Point[]): Point {
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
}

function distance([a, b]: Point[]): number {
  return Math.hypot(a.x - b.x, a.y - b.y);
}
