// The canvas: one or two panes that show the same part of the scene.

import type { Box, Point } from "./geometry";
import type { Layers } from "./layers";
import type { Scene } from "./scene";

export type Mode = "side" | "overlay" | "slider";

/** Something drawn on top, in pixels of the scene; lines are `1 / scale` wide for one pixel. */
export type Overlay = (context: CanvasRenderingContext2D, scale: number) => void;

const [SMALLEST, LARGEST] = [0.1, 40];
const PADDING = 24;
const GAP = 12;
/** How near to the divider, in pixels of the screen, takes hold of it. */
const GRIP = 8;

export class View {
  mode: Mode = "side";
  /** How much of the label map is seen over the photograph, 0..1. */
  opacity = 0.5;
  /** Where the slider divides the pane, 0..1 of its width. */
  divider = 0.5;
  showsOutlines = true;
  overlays: Overlay[] = [];
  private scale = 1;
  private centre: Point = { x: 0, y: 0 };
  private scene: Scene | null = null;
  private layers: Layers | null = null;
  private isFitted = true;
  private frame = 0;

  constructor(
    readonly canvas: HTMLCanvasElement,
    private readonly onZoom: (percent: number) => void,
  ) {
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  open(scene: Scene, layers: Layers): void {
    const isSame = this.scene?.width === scene.width && this.scene.height === scene.height;
    this.scene = scene;
    this.layers = layers;
    if (isSame) this.redraw();
    else this.fit();
  }

  /** Show all of the scene. */
  fit(): void {
    if (!this.scene) return;
    const { width, height } = this.scene;
    const pane = this.panes()[0];
    this.isFitted = true;
    this.scale = Math.min((pane.width - PADDING) / width, (pane.height - PADDING) / height);
    this.scale = Math.max(SMALLEST, this.scale);
    this.centre = { x: width / 2, y: height / 2 };
    this.redraw();
  }

  /** Zoom by a factor about a point of the canvas, by default its middle. */
  zoom(factor: number, about?: Point): void {
    const before = about && this.toScene(about);
    const scale = Math.min(LARGEST, Math.max(SMALLEST, this.scale * factor));
    const ratio = this.scale / scale;
    this.scale = scale;
    this.isFitted = false;
    if (before) {
      const { x, y } = this.centre;
      this.centre = { x: before.x + (x - before.x) * ratio, y: before.y + (y - before.y) * ratio };
    }
    this.redraw();
  }

  /** Move by pixels of the screen. */
  pan(dx: number, dy: number): void {
    this.centre = { x: this.centre.x - dx / this.scale, y: this.centre.y - dy / this.scale };
    this.isFitted = false;
    this.redraw();
  }

  setMode(mode: Mode): void {
    this.mode = mode;
    if (this.isFitted) this.fit();
    else this.redraw();
  }

  get pixelScale(): number {
    return this.scale;
  }

  get middle(): Point {
    return this.centre;
  }

  /** Where a point of the canvas lies on the scene. */
  toScene(point: Point): Point {
    const pane = this.paneAt(point);
    return {
      x: (point.x - pane.x - pane.width / 2) / this.scale + this.centre.x,
      y: (point.y - pane.y - pane.height / 2) / this.scale + this.centre.y,
    };
  }

  /** Where a point of the scene is on the canvas, in the first pane. */
  toCanvas(point: Point): Point {
    const pane = this.panes()[0];
    return {
      x: (point.x - this.centre.x) * this.scale + pane.x + pane.width / 2,
      y: (point.y - this.centre.y) * this.scale + pane.y + pane.height / 2,
    };
  }

  isOnDivider(point: Point): boolean {
    return this.mode === "slider" && Math.abs(point.x - this.divider * this.width) < GRIP;
  }

  moveDivider(x: number): void {
    this.divider = Math.min(1, Math.max(0, x / this.width));
    this.redraw();
  }

  redraw(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
      this.onZoom(Math.round(this.scale * 100));
    });
  }

  /** Draw without waiting for the browser's next frame, which may be 16 ms away. */
  drawNow(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.draw();
  }

  private get width(): number {
    return this.canvas.clientWidth;
  }

  private panes(): Box[] {
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (this.mode !== "side") return [{ x: 0, y: 0, width, height }];
    if (width < height) {
      const half = (height - GAP) / 2;
      return [0, half + GAP].map((y) => ({ x: 0, y, width, height: half }));
    }
    const half = (width - GAP) / 2;
    return [0, half + GAP].map((x) => ({ x, y: 0, width: half, height }));
  }

  private paneAt(point: Point): Box {
    const panes = this.panes();
    return panes.find((p) => point.x < p.x + p.width && point.y < p.y + p.height) ?? panes[0];
  }

  private draw(): void {
    const context = this.canvas.getContext("2d");
    const { layers } = this;
    if (!context || !layers) return;
    const ratio = devicePixelRatio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const [first, second] = this.panes();
    if (this.mode === "side") {
      this.drawPane(context, first, ratio, () => this.drawLabels(context, layers));
      this.drawPane(context, second, ratio, () => this.drawPhoto(context, layers));
    } else if (this.mode === "overlay") {
      this.drawPane(context, first, ratio, () => {
        this.drawPhoto(context, layers);
        context.globalAlpha = this.opacity;
        this.drawLabels(context, layers);
        context.globalAlpha = 1;
      });
    } else {
      const at = Math.round(this.divider * this.width);
      const left = { ...first, clip: { ...first, width: at } };
      const right = { ...first, clip: { ...first, x: at, width: first.width - at } };
      this.drawPane(context, left, ratio, () => this.drawLabels(context, layers));
      this.drawPane(context, right, ratio, () => this.drawPhoto(context, layers));
      drawDivider(context, at, first.height, ratio);
    }
  }

  private drawPane(
    context: CanvasRenderingContext2D,
    pane: Box & { clip?: Box },
    ratio: number,
    draw: () => void,
  ): void {
    const seen = pane.clip ?? pane;
    context.save();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.beginPath();
    context.rect(seen.x, seen.y, seen.width, seen.height);
    context.clip();
    context.translate(pane.x + pane.width / 2, pane.y + pane.height / 2);
    context.scale(this.scale, this.scale);
    context.translate(-this.centre.x, -this.centre.y);
    draw();
    for (const overlay of this.overlays) overlay(context, this.scale);
    context.restore();
  }

  private drawLabels(context: CanvasRenderingContext2D, layers: Layers): void {
    context.imageSmoothingEnabled = false;
    context.drawImage(layers.label, 0, 0);
    if (!this.showsOutlines) return;
    context.globalAlpha = 0.55 * context.globalAlpha;
    context.drawImage(layers.outlines, 0, 0);
    context.globalAlpha = 1;
  }

  private drawPhoto(context: CanvasRenderingContext2D, layers: Layers): void {
    // Pixels stay pixels where they are large enough to be worked on one by one.
    context.imageSmoothingEnabled = this.scale < 4;
    context.imageSmoothingQuality = "high";
    if (layers.hasPhoto) context.drawImage(layers.photo, 0, 0);
  }

  private resize(): void {
    this.canvas.width = Math.round(this.canvas.clientWidth * devicePixelRatio);
    this.canvas.height = Math.round(this.canvas.clientHeight * devicePixelRatio);
    if (this.isFitted) this.fit();
    else this.redraw();
  }
}

function drawDivider(context: CanvasRenderingContext2D, x: number, height: number, ratio: number) {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = "#fff";
  context.shadowColor = "rgb(0 0 0 / 0.5)";
  context.shadowBlur = 4;
  context.fillRect(x - 1, 0, 2, height);
  context.beginPath();
  context.roundRect(x - 5, height / 2 - 18, 10, 36, 5);
  context.fill();
  context.shadowBlur = 0;
}
