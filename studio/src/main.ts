// Puts the studio together and starts it.

import "./style.css";
import { Api, type Model, Problem } from "./api";
import { App } from "./app";
import { lastScene } from "./autosave";
import { addHook } from "./hook";
import { outlineOf } from "./layers";
import { Pointer } from "./pointer";
import { Scene } from "./scene";
import { sceneOf } from "./share";
import { addShortcuts } from "./shortcuts";
import { sampleScene } from "./starts";
import { contrasting } from "./tools/tool";
import { keyDialog, shortcutsDialog } from "./ui/dialogs";
import { h, iconButton } from "./ui/dom";
import { panel } from "./ui/panel";
import { rail } from "./ui/rail";
import { statusBar } from "./ui/status";
import { openChosen, topbar } from "./ui/topbar";
import { View } from "./view";

const FIRST_SCENE = 4;
const RETRY_MS = 1000;
const NOTICE_MS = 8000;

void start();

async function start(): Promise<void> {
  const api = new Api();
  const waiting = h("p", { className: "waiting", role: "status", textContent: "Waiting for the model …" });
  document.body.append(waiting);
  const [model] = await whenReady(api, waiting);
  waiting.remove();
  if (model.classes.length === 0) {
    document.body.append(h("p", { className: "waiting", textContent: `${model.name} takes pictures, not label maps; there is nothing to paint.` }));
    return;
  }
  const app = new App(api, model);
  build(app);
  await openFirst(app);
}

/** Ask for the models until the server has one; ask the user for a key if it wants one. */
async function whenReady(api: Api, waiting: HTMLElement): Promise<Model[]> {
  for (;;) {
    try {
      return await api.models();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) {
        await keyDialog(api, api.key ? "The key is not known here." : "Ask whoever runs the server for one.");
        continue;
      }
      waiting.textContent = error.status ? `${error.message} Waiting …` : "Offline. Trying again …";
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

function build(app: App): void {
  const canvas = h("canvas", {
    tabIndex: 0,
    role: "application",
    "aria-label": "Scene: labels and photograph. Paint with the pointer; move the selected object with the arrow keys.",
  });
  let showZoom: (percent: number) => void = () => {};
  const view = new View(canvas, (percent) => showZoom(percent));
  const bar = topbar(app, view);
  const status = statusBar(app, view);
  showZoom = status.showZoom;
  const pointer = new Pointer(app, view, status.hover);
  const empty = h("p", { className: "empty", role: "status", textContent: "Making the first photograph …" });
  const stage = h("main", { className: "stage" }, canvas, empty);
  document.body.append(bar.element, rail(app), stage, panel(app, view), status.element, notices(app));

  let outline: Path2D | null = null;
  const outlineSelection = () => {
    outline = app.selected === null ? null : outlineOf(app.scene, app.selected);
    view.redraw();
  };
  view.overlays = [
    (context, scale) => {
      const shown = app.tool === "select" || app.tool === "pick" ? outline : null;
      if (shown) contrasting(context, scale, () => context.stroke(shown));
    },
    pointer.overlay,
  ];
  app.on("selection", outlineSelection);
  app.on("change", outlineSelection);
  app.on("open", () => {
    empty.hidden = false;
    view.open(app.scene, app.layers);
    outlineSelection();
  });
  app.on("photo", () => {
    empty.hidden = true;
    view.drawNow();
  });
  addShortcuts(app, view, pointer, { ...bar, help: shortcutsDialog });
  acceptDrops(app, stage);
  addEventListener("online", () => app.link.retry());
  addEventListener("hashchange", () => void openFirst(app, false));
  addHook(app, view);
  pointer.refresh();
}

/** Open the scene of the address, else the last one, else a sample. */
async function openFirst(app: App, isFirst = true): Promise<void> {
  const { model } = app;
  try {
    const linked = sceneOf(location.hash, model);
    if (linked) history.replaceState(null, "", location.pathname + location.search);
    if (linked || !isFirst) {
      if (linked) app.open(linked, isFirst);
      return;
    }
    const last = await lastScene(model.classes.length, model.size.max_pixels);
    app.open(last ?? (await firstScene(app)), true);
  } catch (error) {
    app.emit("problem", (error as Error).message);
    if (isFirst) app.open(Scene.blank(512, 512, 0), true);
  }
  // A class that is seen is a better beginning than "no class".
  app.choose({ label: model.classes.length > 1 ? Math.min(3, model.classes.length - 1) : 0 });
}

function firstScene(app: App): Promise<Scene> | Scene {
  return app.model.samples ? sampleScene(app.api, app.model, FIRST_SCENE) : Scene.blank(512, 512, 0);
}

/** Tell problems for a while, or until they are put away. */
function notices(app: App): HTMLElement {
  const words = h("span");
  const element = h("div", { className: "notice", role: "alert", hidden: true }, words,
    iconButton("close", "Put away", () => (element.hidden = true)));
  let timer = 0;
  app.on("problem", (message) => {
    words.textContent = message;
    element.hidden = false;
    clearTimeout(timer);
    timer = window.setTimeout(() => (element.hidden = true), NOTICE_MS);
  });
  return element;
}

function acceptDrops(app: App, stage: HTMLElement): void {
  // The whole window: a near miss would replace the page by the picture.
  addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("over");
  });
  addEventListener("dragleave", () => stage.classList.remove("over"));
  addEventListener("drop", (event) => {
    stage.classList.remove("over");
    if (event.defaultPrevented) return;
    event.preventDefault();
    void openChosen(app, [...(event.dataTransfer?.files ?? [])]);
  });
}

