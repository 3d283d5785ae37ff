// Windows on top of the studio: new scene, share, API key, keyboard.

import type { App } from "../app";
import { permalink, LONG_ADDRESS } from "../share";
import { curlSnippet, pythonSnippet } from "../snippets";
import { Scene } from "../scene";
import { LARGEST_SEED, randomSeed, sampleScene } from "../starts";
import { SHORTCUTS } from "../shortcuts";
import type { Api } from "../api";
import { button, h, iconButton, segments } from "./dom";

/** Show a dialog until it is closed; it takes the focus, and gives it back. */
export function showDialog(title: string, ...content: Node[]): HTMLDialogElement {
  const close = iconButton("close", "Close", () => dialog.close());
  const heading = h("h1", { id: "dialog-title", textContent: title });
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, h("header", {}, heading, close), ...content);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function newDialog(app: App): void {
  type Kind = "blank" | "sample" | "random";
  let kind: Kind = app.model.samples ? "sample" : "blank";
  const choices: [Kind, string][] = [["blank", "Blank"]];
  if (app.model.samples) choices.push(["sample", "Sample"], ["random", "Random"]);
  const kinds = segments("Kind of scene", choices, (value) => ((kind = value), show()));
  const side = (id: string) =>
    h("input", { id, type: "number", min: "32", max: "4096", step: "1", value: "512", required: true });
  const [width, height] = [side("new-width"), side("new-height")];
  const sizes = h(
    "div",
    { className: "row" },
    h("label", { htmlFor: "new-width", textContent: "Width" }), width,
    h("label", { htmlFor: "new-height", textContent: "Height" }), height,
  );
  const seed = h("input", { id: "new-seed", type: "number", min: "0", max: String(LARGEST_SEED), value: "4", required: true });
  const number = h("div", { className: "row" }, h("label", { htmlFor: "new-seed", textContent: "Scene number" }), seed);
  const sampleSide = h(
    "select",
    { id: "new-side" },
    h("option", { value: "512", textContent: "512 × 512" }),
    h("option", { value: "256", textContent: "256 × 256 (faster)" }),
  );
  const sideRow = h("div", { className: "row" }, h("label", { htmlFor: "new-side", textContent: "Size" }), sampleSide);
  const fault = h("p", { className: "fault", role: "alert" });
  const show = () => {
    kinds.show(kind);
    sizes.hidden = kind !== "blank";
    number.hidden = kind !== "sample";
    sideRow.hidden = kind === "blank";
    for (const field of [width, height]) field.disabled = sizes.hidden;
    seed.disabled = number.hidden;
  };
  const make = async (): Promise<Scene> => {
    if (kind !== "blank") {
      const wanted = kind === "random" ? randomSeed() : seed.valueAsNumber;
      return sampleScene(app.api, app.model, wanted, Number(sampleSide.value));
    }
    const [w, h] = [width.valueAsNumber, height.valueAsNumber];
    if (w * h > app.model.size.max_pixels) {
      throw new Error(`The server takes scenes of up to ${app.model.size.max_pixels} pixels.`);
    }
    return Scene.blank(w, h, 0);
  };
  const form = h(
    "form",
    {
      onsubmit: (event: SubmitEvent) => {
        event.preventDefault();
        make().then(
          (scene) => (app.open(scene), dialog.close()),
          (error: Error) => (fault.textContent = error.message),
        );
      },
    },
    kinds.element, sizes, number, sideRow,
    h("p", { className: "hint", textContent: "What is open now comes back with Undo." }),
    fault,
    h("div", { className: "row end" }, h("button", { type: "submit", className: "primary", textContent: "Create" })),
  );
  show();
  const dialog = showDialog("New scene", form);
}

export function shareDialog(app: App): void {
  const needsKey = app.api.key !== "";
  const link = permalink(app.scene);
  const texts = {
    link: () => link,
    curl: () => curlSnippet(app.scene, app.model, needsKey),
    python: () => pythonSnippet(app.scene, app.model, needsKey),
  };
  type Kind = keyof typeof texts;
  const about: Record<Kind, string> = {
    link: `The address holds the whole scene (${Math.ceil(link.length / 1000)} kB); no server keeps it.`,
    curl: "Paste it into a terminal: it makes this very photograph.",
    python: "A program that makes this very photograph.",
  };
  let kind: Kind = "link";
  const text = h("textarea", { readOnly: true, rows: 8, spellcheck: false, "aria-label": "To copy" });
  const hint = h("p", { className: "hint" });
  const copy = button("Copy", () => void copyText(text, copy), "primary");
  const kinds = segments(
    "What to share",
    [["link", "Link"], ["curl", "curl"], ["python", "Python"]] as const,
    (value) => ((kind = value), show()),
  );
  const show = () => {
    kinds.show(kind);
    text.value = texts[kind]();
    const isLong = kind === "link" && link.length > LONG_ADDRESS;
    hint.textContent = about[kind] + (isLong ? " Some programs cut addresses of this length." : "");
  };
  show();
  showDialog("Share", kinds.element, hint, text, h("div", { className: "row end" }, copy));
}

/** Ask for an API key until one is given. */
export function keyDialog(api: Api, words: string): Promise<void> {
  return new Promise((resolve) => {
    const key = h("input", { id: "api-key", type: "password", autocomplete: "off", required: true });
    const form = h(
      "form",
      {
        onsubmit: (event: SubmitEvent) => {
          event.preventDefault();
          api.remember(key.value.trim());
          dialog.close();
        },
      },
      h("p", { textContent: words }),
      h("div", { className: "row" }, h("label", { htmlFor: "api-key", textContent: "API key" }), key),
      h("p", { className: "hint", textContent: "It is kept until this tab is closed." }),
      h("div", { className: "row end" }, h("button", { type: "submit", className: "primary", textContent: "Continue" })),
    );
    const dialog = showDialog("This server needs a key", form);
    dialog.addEventListener("close", () => resolve());
  });
}

export function shortcutsDialog(): void {
  const rows = SHORTCUTS.map(([keys, what]) =>
    h("tr", {}, h("td", {}, h("kbd", { textContent: keys })), h("td", { textContent: what })),
  );
  showDialog("Keyboard", h("table", {}, h("tbody", {}, ...rows)));
}

async function copyText(text: HTMLTextAreaElement, button: HTMLButtonElement): Promise<void> {
  text.select();
  try {
    await navigator.clipboard.writeText(text.value);
  } catch {
    return; // only secure pages have a clipboard; the text is selected to be copied by hand
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}
