// The tab "Object": class, style and place of what is selected.

import type { App } from "../app";
import { type Target, restyled } from "../candidates";
import { alterSelected, copyStyle, orderSelected, pasteStyle, relabel, removeSelected } from "../commands";
import type { Edit } from "../history";
import { contactSheet } from "../sheet";
import { type Plain, isBetween, mix } from "../styles";
import { button, h, iconButton, segments } from "./dom";
import { download } from "./download";
import { photoDialog } from "./photo-dialog";
import { Strip } from "./strip";

export function objectTab(app: App): HTMLElement {
  let scope: "object" | "class" = "object";
  const strip = new Strip(app);
  const empty = h("p", {
    className: "hint",
    textContent: "Choose an object with the Select tool (V): click it in the labels or in the photograph.",
  });

  const classes = app.model.classes.map(({ id, name }) => h("option", { value: String(id), textContent: name }));
  const kind = h("select", { id: "object-class", onchange: () => relabel(app, Number(kind.value)) }, ...classes);
  const scopes = segments(
    "What a style is for",
    [
      ["object", "This object"],
      ["class", "All of its class"],
    ] as const,
    (value) => {
      scope = value;
      showTarget();
    },
  );
  const target = (): Target | null => {
    const label = app.labelOf(app.selected);
    if (app.selected === null || label === undefined) return null;
    return { instance: app.selected, label, isClass: scope === "class" };
  };
  const paste = button("Paste", () => pasteStyle(app, scope === "class"));
  const copy = button("Copy", () => copyStyle(app));
  const toClass = button("To all of its class", () => {
    const code = app.selected === null ? undefined : app.codes.get(app.selected);
    if (!code) return;
    app.choose({ copiedStyle: code });
    pasteStyle(app, true);
  });
  const sheet = button("Contact sheet", () => void saveSheet(app, strip));
  const mixer = mixRow(app, target);
  const fromPhoto = (files: readonly File[]) => {
    const wanted = target();
    if (wanted) void photoDialog(app, wanted, files);
  };
  const chooser = h("input", {
    type: "file",
    multiple: true,
    accept: "image/*",
    hidden: true,
    "aria-label": "Reference photograph",
    onchange: () => {
      fromPhoto([...(chooser.files ?? [])]);
      chooser.value = "";
    },
  });
  const photo = button("From a photo …", () => chooser.click());
  const place = h(
    "div",
    { className: "row icons", role: "group", "aria-label": "Place" },
    iconButton("flip", "Flip", () => alterSelected(app, "Flip", (o) => ({ flipped: !o.flipped })), "X"),
    iconButton("forward", "Bring forward", () => orderSelected(app, 1), "Page Up"),
    iconButton("backward", "Send backward", () => orderSelected(app, -1), "Page Down"),
    iconButton("minus", "Smaller", () => scale(app, 1 / 1.1), "Alt −"),
    iconButton("plus", "Larger", () => scale(app, 1.1), "Alt +"),
    iconButton("remove", "Remove", () => removeSelected(app), "Delete"),
  );
  const styled = h(
    "div",
    {},
    h("h2", { textContent: "Style" }),
    scopes.element,
    strip.element,
    mixer.element,
    h("div", { className: "wrap" }, copy, paste, toClass, photo, chooser, sheet),
  );
  styled.addEventListener("drop", (event) => {
    event.preventDefault(); // dropped anywhere else it is opened as a scene
    fromPhoto([...(event.dataTransfer?.files ?? [])]);
  });
  const body = h(
    "div",
    {},
    h("div", { className: "row" }, h("label", { htmlFor: "object-class", textContent: "Class" }), kind),
    place,
    styled,
  );

  const showTarget = () => {
    const wanted = target();
    empty.hidden = wanted !== null;
    body.hidden = wanted === null;
    scopes.show(scope);
    strip.show(wanted && app.model.style_channels ? wanted : null);
    styled.hidden = !app.model.style_channels;
    if (wanted) kind.value = String(wanted.label);
    mark();
  };
  const mark = () => {
    strip.mark();
    mixer.show();
    paste.disabled = app.copiedStyle === null;
  };
  app.on("selection", showTarget);
  app.on("open", showTarget);
  app.on("history", mark);
  app.on("choice", mark);
  showTarget();
  return h("div", {}, empty, body);
}

function scale(app: App, factor: number): void {
  alterSelected(app, "Scale", (object) => {
    const [width, height] = [Math.round(object.width * factor), Math.round(object.height * factor)];
    const x = object.x + Math.round((object.width - width) / 2);
    return { x, y: object.y + object.height - height, width, height }; // it stands where it stood
  });
}

/** A place between the style that the target has and another one of its class. */
function mixRow(app: App, target: () => Target | null) {
  let edit: Edit | null = null;
  let first: Plain | undefined;
  const to = h("select", { id: "mix-with", onchange: () => apply() });
  const at = h("input", { type: "range", min: "0", max: "1", step: "0.01", "aria-label": "Share of the other style" });
  const apply = () => {
    const wanted = target();
    if (!wanted || first === undefined) return;
    edit ??= app.edit();
    edit.styles = restyled(edit.scene.styles, wanted, mix(first, Number(to.value), at.valueAsNumber), edit.scene);
    edit.flush();
    const box = app.scene.boxOf(wanted.instance);
    if (box && !wanted.isClass) app.live.preview(box);
    else app.live.settle(null);
  };
  const finish = () => {
    if (edit) app.finish(edit, "Mix styles");
    edit = null;
  };
  at.oninput = apply;
  at.onchange = finish;
  to.onchange = () => {
    apply();
    finish();
  };
  const show = () => {
    const wanted = target();
    if (!wanted || edit) return;
    const { styles } = app.scene;
    const wish = wanted.isClass ? styles.classes.get(wanted.label) : styles.instances.get(wanted.instance);
    const count = app.model.classes[wanted.label].styles;
    if (to.options.length !== count) {
      to.replaceChildren(...Array.from({ length: count }, (_, i) => h("option", { value: String(i), textContent: `Style ${i + 1}` })));
    }
    at.value = isBetween(wish) ? String(wish.at) : "0";
    if (isBetween(wish) && typeof wish.between[1] === "number") to.value = String(wish.between[1]);
    first = isBetween(wish) ? wish.between[0] : wish;
    first ??= app.codes.get(wanted.instance);
    element.hidden = count < 2;
  };
  app.on("photo", show);
  const element = h("div", { className: "row" }, h("label", { htmlFor: "mix-with", textContent: "Mix with" }), to, at);
  return { element, show };
}

async function saveSheet(app: App, strip: Strip): Promise<void> {
  const name = app.model.classes[app.labelOf(app.selected) ?? 0].name;
  const crops = strip.crops.filter(Boolean);
  if (crops.length) download(await contactSheet(crops), `${name}-styles.png`);
}
