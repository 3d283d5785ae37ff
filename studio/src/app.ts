// What the studio knows and does, without any element of its page.

import type { Api, Model } from "./api";
import { Autosave } from "./autosave";
import type { Box } from "./geometry";
import { Edit, History, type Step } from "./history";
import { Layers } from "./layers";
import { Link, type LinkState, type Stages } from "./link";
import { Live } from "./live";
import { type Paint, touching } from "./paint";
import { Scene } from "./scene";
import type { Styles, Wish } from "./styles";

export type ToolName = "select" | "brush" | "eraser" | "rectangle" | "polygon" | "fill" | "pick" | "hand";

/** What the page listens to. */
interface Events {
  /** Another scene is open. */
  open: void;
  /** Maps or styles have changed; null = styles alone. */
  change: Box | null;
  /** Tool, class or another choice. */
  choice: void;
  selection: void;
  /** A photograph is there to be drawn. */
  photo: void;
  /** It has been drawn. */
  latency: void;
  link: void;
  /** An edit was finished, undone or made again. */
  history: void;
  problem: string;
}

export interface Latency extends Stages {
  /** Milliseconds from the hand's move until the photograph was drawn. */
  total: number;
  /** Counts the photographs. */
  frame: number;
  view: "preview" | "region" | "whole";
}

export class App {
  scene: Scene = Scene.blank(8, 8, 0);
  layers: Layers;
  readonly history = new History();
  readonly live: Live;
  readonly link: Link;
  readonly autosave: Autosave;
  tool: ToolName = "brush";
  label = 0;
  brush = 24;
  /** Whether what is painted is a new object, or more of one that it touches. */
  policy: "new" | "extend" = "new";
  selected: number | null = null;
  linkState: LinkState = "connecting";
  latency: Latency | null = null;
  /** The style code that an instance has been shown with. */
  readonly codes = new Map<number, number[]>();
  copiedStyle: Wish | null = null;
  private readonly listeners = new Map<keyof Events, ((value: never) => void)[]>();

  constructor(
    readonly api: Api,
    readonly model: Model,
  ) {
    this.layers = new Layers(this.scene, model);
    this.link = new Link(
      {
        onState: (state) => {
          this.linkState = state;
          this.emit("link");
        },
        onPhoto: (shown) => {
          this.layers.show(shown);
          // Before it is drawn: the server can begin with the next one meanwhile.
          this.live.shown(shown);
          this.emit("photo");
          const { since, isPreview, region } = shown.view;
          this.latency = {
            ...shown.milliseconds,
            total: performance.now() - since,
            frame: (this.latency?.frame ?? 0) + 1,
            view: isPreview ? "preview" : region ? "region" : "whole",
          };
          this.emit("latency");
        },
        onRefused: (message) => this.emit("problem", message),
        onDropped: (view) => this.live.dropped(view),
        onCodes: (codes) => codes.forEach(({ instance, code }) => this.codes.set(instance, code)),
      },
      () => api.key,
      () => model.name,
    );
    this.live = new Live(this.link);
    this.autosave = new Autosave((works) => {
      if (!works) this.emit("problem", "This browser keeps no scenes; save yours as a file.");
    });
  }

  on<K extends keyof Events>(event: K, listener: (value: Events[K]) => void): void {
    const known = this.listeners.get(event) ?? [];
    this.listeners.set(event, [...known, listener as (value: never) => void]);
  }

  emit<K extends keyof Events>(event: K, ...value: Events[K] extends void ? [] : [Events[K]]): void {
    for (const listener of this.listeners.get(event) ?? []) listener(value[0] as never);
  }

  /** Open another scene, as a step that can be undone. */
  open(scene: Scene, isFirst = false): void {
    const before = this.scene;
    this.show(scene);
    if (isFirst) return;
    this.finished({ name: "Open", undo: () => this.show(before), redo: () => this.show(scene) });
  }

  /** Begin a change of the scene; `finish` makes it a step of the history. */
  edit(): Edit {
    const { scene } = this;
    return new Edit(scene, (box) => {
      if (scene === this.scene) this.changed(box);
    });
  }

  /** Make a change in one go. */
  change(name: string, make: (edit: Edit) => void): void {
    const edit = this.edit();
    try {
      make(edit);
    } catch (error) {
      edit.cancel();
      this.emit("problem", (error as Error).message);
      return;
    }
    this.finish(edit, name);
  }

  /** `seen` is where the photograph changes, if that is not where the maps have. */
  finish(edit: Edit, name: string, seen?: Box | null): void {
    const step = edit.finish(name);
    if (!step) return;
    this.live.settle(edit.changed ?? seen ?? null);
    this.finished({
      name,
      undo: () => this.travel(step, "undo"),
      redo: () => this.travel(step, "redo"),
    });
  }

  /** Change styles; `seen` is where, if it is a part of the scene. */
  restyle(name: string, styles: Styles, seen: Box | null = null): void {
    const edit = this.edit();
    edit.styles = styles;
    this.finish(edit, name, seen);
  }

  undo(): void {
    if (this.history.undo()) this.afterStep();
  }

  redo(): void {
    if (this.history.redo()) this.afterStep();
  }

  select(instance: number | null): void {
    if (instance === this.selected) return;
    this.selected = instance;
    this.emit("selection");
  }

  choose(choice: Partial<Pick<App, "tool" | "label" | "brush" | "policy" | "copiedStyle">>): void {
    Object.assign(this, choice);
    this.emit("choice");
  }

  /** The class of an instance, undefined if there is none; loose objects may be hidden by others. */
  labelOf(instance: number | null): number | undefined {
    if (instance === null) return undefined;
    const loose = this.scene.objects.find((object) => object.instance === instance);
    return loose?.label ?? this.scene.instances().get(instance);
  }

  /** What a stroke that begins here writes. */
  paintAt(x: number, y: number, label = this.label): Paint {
    if (label === 0) return { label, instance: 0 };
    const { scene, selected } = this;
    if (this.policy === "extend") {
      const nearest = touching(scene, { x, y }, this.brush / 2 + 1, label);
      if (nearest !== null) return { label, instance: nearest };
      if (selected !== null && this.labelOf(selected) === label) return { label, instance: selected };
    }
    return { label, instance: scene.freshId(label) };
  }

  private show(scene: Scene): void {
    this.scene = scene;
    this.layers = new Layers(scene, this.model);
    this.codes.clear();
    this.select(null);
    this.live.open(scene);
    this.emit("open");
  }

  private travel(step: Step, way: "undo" | "redo"): void {
    let area: Box | null = null;
    this.onceChanged = (box) => (area = box);
    step[way]();
    this.onceChanged = null;
    this.live.settle(area);
  }

  private onceChanged: ((box: Box | null) => void) | null = null;

  private changed(box: Box | null): void {
    this.onceChanged?.(box);
    if (box) {
      this.layers.update(box);
      this.link.touch(box);
    }
    this.emit("change", box);
  }

  private finished(step: Step): void {
    this.history.push(step);
    this.afterStep();
  }

  private afterStep(): void {
    if (this.selected !== null && this.labelOf(this.selected) === undefined) this.select(null);
    this.autosave.soon(this.scene);
    this.emit("history");
  }
}
