// The candidates of an object: its place in the photograph, in every style of its class.

import type { App } from "../app";
import { type Crop, type Target, synthesizeCrops } from "../candidates";
import { applyStyle } from "../commands";
import type { Wish } from "../styles";
import { h, roving } from "./dom";

const COLUMNS = 3;

export class Strip {
  readonly element = h("div", { className: "strip", role: "radiogroup", "aria-label": "Styles" });
  readonly crops: Crop[] = [];
  private readonly addresses: string[] = [];
  private cells: HTMLButtonElement[] = [];
  private wishes: (Wish | undefined)[] = [];
  private target: Target | null = null;
  private running = new AbortController();

  constructor(private readonly app: App) {
    roving(this.element, () => COLUMNS);
  }

  /** Show the candidates of a target, anew or for the first time. */
  show(target: Target | null): void {
    this.clear();
    this.target = target;
    if (!target) return;
    const { app } = this;
    const count = app.model.classes[target.label]?.styles ?? 0;
    this.wishes = [undefined, ...Array.from({ length: count }, (_, i) => i)];
    this.cells = this.wishes.map((wish) => this.cell(wish));
    this.element.replaceChildren(...this.cells);
    this.mark();
    void this.load(target);
  }

  /** Show which candidate is chosen. */
  mark(): void {
    if (!this.target) return;
    const { instance, label, isClass } = this.target;
    const { styles } = this.app.scene;
    const wish = isClass ? styles.classes.get(label) : styles.instances.get(instance);
    const chosen = this.wishes.indexOf(wish);
    this.cells.forEach((cell, i) => {
      cell.setAttribute("aria-checked", String(i === chosen));
      cell.tabIndex = i === Math.max(0, chosen) ? 0 : -1;
    });
  }

  private cell(wish: Wish | undefined): HTMLButtonElement {
    const text = wish === undefined ? "Auto" : String(Number(wish) + 1);
    const name = wish === undefined ? "Style chosen by the seed" : `Style ${text}`;
    return h(
      "button",
      {
        type: "button",
        role: "radio",
        title: name,
        "aria-label": name,
        onclick: () => this.target && applyStyle(this.app, this.target, wish),
      },
      h("span", { textContent: text }),
    );
  }

  private async load(target: Target): Promise<void> {
    const { app, running } = this;
    this.element.ariaBusy = "true";
    try {
      await synthesizeCrops(app.api, app.model, app.scene, target, this.wishes, (i, crop) => {
        if (running.signal.aborted) return;
        this.crops[i] = crop;
        this.addresses[i] = URL.createObjectURL(crop.photo);
        this.cells[i].prepend(h("img", { src: this.addresses[i], alt: "", draggable: false }));
      }, running.signal);
      this.element.ariaBusy = "false";
    } catch (error) {
      if (!running.signal.aborted) app.emit("problem", (error as Error).message);
    }
  }

  private clear(): void {
    this.running.abort();
    this.running = new AbortController();
    this.addresses.splice(0).forEach((address) => URL.revokeObjectURL(address));
    this.crops.length = 0;
    this.element.replaceChildren();
  }
}
