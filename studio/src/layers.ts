// The pictures that the view draws from: classes in their colours, outlines, the photograph.

import type { Model } from "./api";
import { type Box, clip, grow } from "./geometry";
import type { Shown } from "./link";
import type { Scene } from "./scene";

const UNKNOWN = [128, 128, 128] as const;
const OUTLINE = 0xb0ffffff; // white, a little transparent; bytes from the last to the first

export class Layers {
  readonly label: HTMLCanvasElement;
  readonly outlines: HTMLCanvasElement;
  readonly photo: HTMLCanvasElement;
  /** Whether there is a photograph at all. */
  hasPhoto = false;
  private readonly colours: Uint32Array;

  constructor(
    private readonly scene: Scene,
    model: Model,
  ) {
    this.label = canvas(scene);
    this.outlines = canvas(scene);
    this.photo = canvas(scene);
    this.colours = Uint32Array.from({ length: 256 }, (_, id) => {
      const [r, g, b] = model.classes[id]?.colour ?? UNKNOWN;
      return 0xff000000 | (b << 16) | (g << 8) | r;
    });
    this.update(scene.box);
  }

  /** Draw anew what has changed of the maps. */
  update(changed: Box): void {
    const { scene } = this;
    const { width } = scene;
    // Its neighbours' outlines change with a pixel.
    const box = clip(grow(changed, 1), scene.width, scene.height);
    if (!box) return;
    const label = new ImageData(box.width, box.height);
    const outlines = new ImageData(box.width, box.height);
    const labelPixels = new Uint32Array(label.data.buffer);
    const outlinePixels = new Uint32Array(outlines.data.buffer);
    for (let y = 0, to = 0; y < box.height; y++) {
      let from = (box.y + y) * width + box.x;
      for (let x = 0; x < box.width; x++, to++, from++) {
        labelPixels[to] = this.colours[scene.label[from]];
        const id = scene.instance[from];
        const differs =
          (box.x + x > 0 && scene.instance[from - 1] !== id) ||
          (box.y + y > 0 && scene.instance[from - width] !== id);
        if (differs) outlinePixels[to] = OUTLINE;
      }
    }
    this.label.getContext("2d")?.putImageData(label, box.x, box.y);
    this.outlines.getContext("2d")?.putImageData(outlines, box.x, box.y);
  }

  /** Lay a new photograph over its part of the scene. */
  show({ picture, region }: Shown): void {
    const context = this.photo.getContext("2d");
    const isScaled = picture.width !== region.width || picture.height !== region.height;
    if (picture instanceof ImageData && !isScaled) {
      context?.putImageData(picture, region.x, region.y);
    } else {
      const source = picture instanceof ImageData ? drawable(picture) : picture;
      context?.drawImage(source, region.x, region.y, region.width, region.height);
    }
    this.hasPhoto = true;
  }
}

/** The outline of an instance as lines between pixels. */
export function outlineOf(scene: Scene, instance: number): Path2D {
  const path = new Path2D();
  const box = scene.boxOf(instance);
  if (!box) return path;
  const isIn = (x: number, y: number) =>
    scene.contains(x, y) && scene.instance[y * scene.width + x] === instance;
  for (let y = box.y; y <= box.y + box.height; y++) {
    for (let x = box.x; x <= box.x + box.width; x++) {
      const here = isIn(x, y);
      if (here !== isIn(x, y - 1)) {
        path.moveTo(x, y);
        path.lineTo(x + 1, y);
      }
      if (here !== isIn(x - 1, y)) {
        path.moveTo(x, y);
        path.lineTo(x, y + 1);
      }
    }
  }
  return path;
}

/** Pixels alone cannot be stretched. */
function drawable(pixels: ImageData): OffscreenCanvas {
  const made = new OffscreenCanvas(pixels.width, pixels.height);
  made.getContext("2d")?.putImageData(pixels, 0, 0);
  return made;
}

function canvas(scene: Scene): HTMLCanvasElement {
  const made = document.createElement("canvas");
  [made.width, made.height] = [scene.width, scene.height];
  // Kept in memory: it is written and read more often than drawn.
  made.getContext("2d", { willReadFrequently: true });
  return made;
}
