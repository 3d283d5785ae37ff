// The keyboard: what each key does, and the table that tells it.

import type { App, ToolName } from "./app";
import { alterSelected, copyStyle, orderSelected, pasteStyle, removeSelected } from "./commands";
import type { Pointer } from "./pointer";
import { LARGEST_BRUSH, SMALLEST_BRUSH, classOfKey } from "./ui/paint-tab";
import type { View } from "./view";

export const TOOL_KEYS: Readonly<Record<ToolName, string>> = {
  select: "V",
  brush: "B",
  eraser: "E",
  rectangle: "R",
  polygon: "P",
  fill: "G",
  pick: "I",
  hand: "H",
};

export const SHORTCUTS: readonly (readonly [string, string])[] = [
  ["V B E R P G I H", "Select, brush, eraser, rectangle, polygon, fill, pick, hand"],
  ["1 … 9, 0", "Class"],
  ["[ ]", "Smaller or larger brush"],
  ["N", "A stroke is a new object, or extends one"],
  ["Enter, Esc", "Close a polygon, give up what is being drawn"],
  ["Ctrl Z, Ctrl Shift Z", "Undo, redo"],
  ["Arrows", "Move the selected object by a pixel, with Shift by ten"],
  ["Alt + −", "Scale the selected object"],
  ["Page Up, Page Down", "Bring it forward, send it backward"],
  ["X, Delete", "Flip it, remove it"],
  ["Shift C, Shift V", "Copy its style, paste a style on it"],
  ["Space", "Hold to move the view"],
  ["+ − F", "Zoom in, out, show all"],
  ["Ctrl wheel, pinch", "Zoom"],
  ["M, O", "Next view; outlines on or off"],
  ["Ctrl O, Ctrl S", "Open, save"],
  ["?", "This table"],
];

const NUDGES: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

export interface Actions {
  open(): void;
  save(): void;
  help(): void;
  nextView(): void;
  toggleOutlines(): void;
}

export function addShortcuts(app: App, view: View, pointer: Pointer, actions: Actions): void {
  const plain: Record<string, () => void> = {
    "[": () => app.choose({ brush: Math.max(SMALLEST_BRUSH, Math.round(app.brush * 0.8) - 1) }),
    "]": () => app.choose({ brush: Math.min(LARGEST_BRUSH, Math.round(app.brush * 1.25) + 1) }),
    "+": () => view.zoom(1.25),
    "=": () => view.zoom(1.25),
    "-": () => view.zoom(0.8),
    "?": actions.help,
    f: () => view.fit(),
    m: actions.nextView,
    o: actions.toggleOutlines,
    n: () => app.choose({ policy: app.policy === "new" ? "extend" : "new" }),
    x: () => alterSelected(app, "Flip", (object) => ({ flipped: !object.flipped })),
    C: () => copyStyle(app),
    V: () => pasteStyle(app, false),
    Enter: () => pointer.enter(),
    Escape: () => pointer.cancel(),
    Delete: () => removeSelected(app),
    Backspace: () => removeSelected(app),
    PageUp: () => orderSelected(app, 1),
    PageDown: () => orderSelected(app, -1),
  };
  for (const [tool, key] of Object.entries(TOOL_KEYS)) {
    plain[key.toLowerCase()] = () => app.choose({ tool: tool as ToolName });
  }
  const controlled: Record<string, (isShifted: boolean) => void> = {
    z: (isShifted) => (isShifted ? app.redo() : app.undo()),
    y: () => app.redo(),
    o: actions.open,
    s: actions.save,
  };

  addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || isTyping(event.target)) return;
    const onCanvas = event.target === view.canvas || event.target === document.body;
    // In small letters: what the Shift and the Caps Lock key make of them differs.
    const isControlled = event.ctrlKey || event.metaKey;
    const action = isControlled ? controlled[event.key.toLowerCase()] : actionOf(event, onCanvas);
    if (!action) return;
    event.preventDefault();
    action(event.shiftKey);
  });
  addEventListener("keyup", (event) => {
    if (event.key === " ") setSpace(false);
  });
  addEventListener("blur", () => setSpace(false));

  function actionOf(event: KeyboardEvent, onCanvas: boolean): ((isShifted: boolean) => void) | undefined {
    const nudge = NUDGES[event.key];
    if (nudge) return onCanvas && app.selected !== null ? () => move(nudge, event.shiftKey) : undefined;
    // These press a button that has the focus.
    if (!onCanvas && (event.key === "Enter" || event.key === " ")) return undefined;
    if (event.key === " ") return () => setSpace(true);
    if (event.altKey) return { "+": () => scale(1.1), "=": () => scale(1.1), "-": () => scale(1 / 1.1) }[event.key];
    const label = classOfKey(event.key);
    if (label in app.model.classes) return () => app.choose({ label });
    return plain[event.key];
  }

  function move([dx, dy]: readonly [number, number], far: boolean): void {
    const step = far ? 10 : 1;
    alterSelected(app, "Move", ({ x, y }) => ({ x: x + dx * step, y: y + dy * step }));
  }

  function scale(factor: number): void {
    alterSelected(app, "Scale", ({ width, height }) => ({
      width: Math.round(width * factor),
      height: Math.round(height * factor),
    }));
  }

  function setSpace(isDown: boolean): void {
    if (pointer.isSpaceDown === isDown) return;
    pointer.isSpaceDown = isDown;
    pointer.refresh();
  }
}

function isTyping(target: EventTarget | null): boolean {
  if (target instanceof HTMLInputElement) return target.type !== "range";
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}
