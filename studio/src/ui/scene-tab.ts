// The tab "Scene": the seed of all styles, looks for whole classes, and what is given away.

import type { App } from "../app";
import { presetsFor, withPreset } from "../presets";
import { randomSeed } from "../starts";
import { NO_STYLES } from "../styles";
import { button, h, iconButton } from "./dom";

export function sceneTab(app: App): HTMLElement {
  const size = h("p", { className: "hint" });
  const seed = h("input", {
    type: "number",
    id: "seed",
    min: "0",
    max: String(Number.MAX_SAFE_INTEGER),
    step: "1",
    onchange: () => seed.validity.valid && setSeed(app, seed.valueAsNumber),
  });
  const presets = presetsFor(app.model).map((preset) =>
    button(preset.name, () => {
      const { styles } = app.scene;
      app.restyle(preset.name, withPreset(styles, preset, app.model, app.scene.instances()));
    }),
  );
  const plain = button("Back to the seed's own styles", () =>
    app.restyle("Reset styles", { ...NO_STYLES, seed: app.scene.styles.seed }),
  );
  const styled = h(
    "div",
    {},
    h("h2", { textContent: "Styles" }),
    h(
      "div",
      { className: "row" },
      h("label", { htmlFor: "seed", textContent: "Seed" }),
      seed,
      iconButton("shuffle", "New seed", () => setSeed(app, randomSeed())),
    ),
    presets.length ? h("div", { className: "wrap", role: "group", "aria-label": "Looks" }, ...presets) : null,
    h("div", { className: "row" }, plain),
  );
  styled.hidden = !app.model.style_channels;

  const show = () => {
    const { scene } = app;
    const { instances, classes } = scene.styles;
    seed.value = String(scene.styles.seed);
    plain.disabled = !instances.size && !classes.size;
    size.textContent = `${scene.width} × ${scene.height} pixels, ${scene.instances().size} objects`;
  };
  app.on("open", show);
  app.on("history", show);
  show();
  return h("div", {}, size, styled, h("p", { className: "hint" }, `${app.model.name}, run by ${app.model.engine}`));
}

function setSeed(app: App, seed: number): void {
  app.restyle("Seed", { ...app.scene.styles, seed });
}
