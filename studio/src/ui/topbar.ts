// The bar at the top: files, undo, views, sharing.

import type { App } from "../app";
import { openFiles, sceneZip, shownStyles, stylesJson } from "../files";
import { instancePng, labelPng } from "../png";
import type { Mode, View } from "../view";
import { newDialog, shareDialog } from "./dialogs";
import { button, h, iconButton, segments } from "./dom";
import { download } from "./download";

const MODES: readonly (readonly [Mode, string])[] = [
  ["side", "Side by side"],
  ["overlay", "Overlay"],
  ["slider", "Slider"],
];

export interface Topbar {
  readonly element: HTMLElement;
  readonly open: () => void;
  readonly save: () => void;
  readonly nextView: () => void;
  readonly toggleOutlines: () => void;
}

export function topbar(app: App, view: View): Topbar {
  const chooser = h("input", {
    type: "file",
    multiple: true,
    accept: "image/png,application/json,application/zip,.zip",
    hidden: true,
    "aria-label": "Files of a scene",
    onchange: () => {
      void openChosen(app, [...(chooser.files ?? [])]);
      chooser.value = "";
    },
  });
  const open = () => chooser.click();
  const save = () => download(sceneZip(app.scene, app.model), "scene.zip");
  const undo = iconButton("undo", "Undo", () => app.undo(), "Ctrl Z");
  const redo = iconButton("redo", "Redo", () => app.redo(), "Ctrl Shift Z");
  const opacity = h("input", {
    type: "range", min: "0", max: "1", step: "0.01", value: String(view.opacity),
    "aria-label": "Opacity of the labels",
    oninput: () => {
      view.opacity = opacity.valueAsNumber;
      view.redraw();
    },
  });
  const modes = segments("View", MODES, (mode) => setMode(mode));
  const setMode = (mode: Mode) => {
    view.setMode(mode);
    modes.show(mode);
    opacity.hidden = mode !== "overlay";
  };
  const outlines = iconButton("outlines", "Outlines of objects", () => toggleOutlines(), "O");
  const toggleOutlines = () => {
    view.showsOutlines = !view.showsOutlines;
    outlines.setAttribute("aria-pressed", String(view.showsOutlines));
    view.redraw();
  };
  outlines.setAttribute("aria-pressed", "true");
  setMode(view.mode);

  const showHistory = () => {
    undo.disabled = !app.history.canUndo;
    redo.disabled = !app.history.canRedo;
  };
  app.on("history", showHistory);
  showHistory();

  const saveMenu = menu("Save", [
    ["Scene (zip)", save],
    ["Label map (PNG)", () => download(labelPng(app.scene, app.model), "label.png")],
    ["Instance map (PNG, 16 bit)", () => download(instancePng(app.scene), "instance.png")],
    ["Styles (JSON)", () => download(stylesJson(app.scene), "styles.json")],
  ]);
  const element = h(
    "header",
    { className: "topbar" },
    h("h1", { textContent: "hdsynth studio" }),
    h("div", { className: "group" },
      button("New", () => newDialog(app)), button("Open", open), saveMenu, chooser),
    h("div", { className: "group" }, undo, redo),
    h("div", { className: "group middle" }, modes.element, opacity, outlines),
    h("div", { className: "group" },
      button("Share", () => shareDialog(app)),
      button("Download photo", () => void downloadPhoto(app), "primary")),
  );
  const nextView = () => setMode(MODES[(MODES.findIndex(([mode]) => mode === view.mode) + 1) % MODES.length][0]);
  return { element, open, save, nextView, toggleOutlines };
}

/** Open what a user chose or dropped; what stands in the way is told. */
export async function openChosen(app: App, files: readonly File[]): Promise<void> {
  if (!files.length) return;
  try {
    const opened = await openFiles(files, app.model);
    if ("scene" in opened) app.open(opened.scene);
    else app.restyle("Open styles", opened.styles);
  } catch (error) {
    app.emit("problem", (error as Error).message);
  }
}

/** The whole photograph, lossless, from the maps as they are. */
async function downloadPhoto(app: App): Promise<void> {
  try {
    download(await app.api.synthesize(app.scene, shownStyles(app.scene)), "photo.png");
  } catch (error) {
    app.emit("problem", (error as Error).message);
  }
}

function menu(name: string, entries: readonly (readonly [string, () => void])[]): HTMLElement {
  const summary = h("summary", { textContent: name });
  const element: HTMLDetailsElement = h(
    "details",
    { className: "menu" },
    summary,
    h("div", {}, ...entries.map(([text, action]) =>
      button(text, () => {
        element.open = false;
        summary.focus();
        action();
      }))),
  );
  element.addEventListener("focusout", ({ relatedTarget }) => {
    if (!element.contains(relatedTarget as Node | null)) element.open = false;
  });
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    element.open = false;
    summary.focus();
  });
  return element;
}
