// A style from a reference photograph: mark what shows it, and the object looks like that.

import type { App } from "../app";
import type { Target } from "../candidates";
import { applyStyle } from "../commands";
import { type Box, between, clip } from "../geometry";
import { type Reference, readReference, styleOf } from "../reference";
import { showDialog } from "./dialogs";
import { button, h, segments } from "./dom";

type Part = "place" | "all" | "marked";

/** Ask which part of a photograph, and give its style to the target. */
export async function photoDialog(app: App, target: Target, files: readonly File[]): Promise<void> {
  if (!files.length) return;
  let reference: Reference;
  try {
    reference = await readReference(files, app.model);
  } catch (error) {
    app.emit("problem", (error as Error).message);
    return;
  }
  const { name } = app.model.classes[target.label];
  const fault = h("p", { className: "fault", role: "alert" });
  const marker = reference.label ? null : mark(app, target, reference.photo);
  const take = button("Take the style", () => {
    take.disabled = true;
    fault.textContent = "";
    const { width, height } = reference.photo;
    const part = marker?.part() ?? { x: 0, y: 0, width, height };
    styleOf(app.api, app.model, reference, target.label, part).then(
      (code) => (applyStyle(app, target, code), dialog.close()),
      (error: Error) => {
        fault.textContent = error.message;
        take.disabled = false;
      },
    );
  }, "primary");
  const hint = h("p", {
    className: "hint",
    textContent: marker
      ? "Drag a frame around what the style is to be taken from."
      : `The style is the mean of every ${name} in the photograph's label map.`,
  });
  const dialog = showDialog(
    "Style from a photograph",
    ...(marker ? [marker.parts] : []),
    hint,
    marker?.canvas ?? reference.photo,
    fault,
    h("div", { className: "row end" }, take),
  );
  dialog.classList.add("photo");
}

/** The photograph with a frame on it, which begins where the object is in the scene. */
function mark(app: App, target: Target, photo: HTMLCanvasElement) {
  const { width, height } = photo;
  const canvas = h("canvas", { width, height, role: "img", "aria-label": "Reference photograph" });
  const all: Box = { x: 0, y: 0, width, height };
  let box = placeOf(app, target, photo) ?? all;
  const parts = segments<Part>(
    "Which part of the photograph",
    [["place", "The object's place"], ["all", "All of it"], ["marked", "A frame"]] as const,
    (value) => {
      if (value !== "marked") box = (value === "place" ? placeOf(app, target, photo) : null) ?? all;
      show(value);
    },
  );
  const show = (part: Part) => {
    parts.show(part);
    const context = canvas.getContext("2d");
    if (!context) return;
    context.drawImage(photo, 0, 0);
    context.fillStyle = "rgb(0 0 0 / 0.55)";
    context.beginPath();
    context.rect(0, 0, width, height);
    context.rect(box.x, box.y, box.width, box.height);
    context.fill("evenodd");
  };
  const at = ({ offsetX, offsetY }: PointerEvent) => ({
    x: (offsetX * width) / canvas.clientWidth,
    y: (offsetY * height) / canvas.clientHeight,
  });
  let corner: { x: number; y: number } | null = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    corner = at(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    const dragged = corner && clip(between(corner, at(event)), width, height);
    if (!dragged) return;
    box = dragged;
    show("marked");
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (corner = null));
  show("place");
  return { canvas, parts: parts.element, part: () => box };
}

/** Where the object would be if the photograph showed the scene. */
function placeOf({ scene }: App, { instance }: Target, photo: HTMLCanvasElement): Box | null {
  const box = scene.boxOf(instance);
  if (!box) return null;
  const [x, y] = [photo.width / scene.width, photo.height / scene.height];
  const place = { x: box.x * x, y: box.y * y, width: box.width * x, height: box.height * y };
  return clip(place, photo.width, photo.height);
}
