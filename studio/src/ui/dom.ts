// A few lines in place of a framework.

type Child = Node | string | null;
type Props<T> = Partial<Omit<T, "style" | "children">> & Record<`data-${string}` | `aria-${string}`, unknown> & {
  role?: string;
};

/** Make an element; names with a dash become attributes, all others properties. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Partial<Props<HTMLElementTagNameMap[K]>> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, String(value));
    else Reflect.set(element, name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A button with an icon, a name for screen readers and a tip. */
export function iconButton(
  icon: IconName,
  name: string,
  onclick: () => void,
  key = "",
): HTMLButtonElement {
  const title = key ? `${name} (${key})` : name;
  const button = h("button", { type: "button", className: "icon", title, "aria-label": name, onclick });
  button.append(svg(icon));
  return button;
}

export function button(text: string, onclick: () => void, className = ""): HTMLButtonElement {
  return h("button", { type: "button", textContent: text, className, onclick });
}

/** Buttons of which one is pressed. */
export function segments<T extends string>(
  name: string,
  choices: readonly (readonly [T, string])[],
  onChoose: (value: T) => void,
): { element: HTMLElement; show: (value: T) => void } {
  const buttons = choices.map(([value, text]) => {
    const made = button(text, () => onChoose(value));
    made.dataset.value = value;
    return made;
  });
  const element = h("div", { className: "segments", role: "group", "aria-label": name }, ...buttons);
  const show = (value: T) =>
    buttons.forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.value === value)));
  return { element, show };
}

/** Let the arrow keys walk through children, of which only one is in the tab order. */
export function roving(container: HTMLElement, columns: () => number = () => 1): void {
  container.addEventListener("keydown", (event) => {
    const items = [...container.children].filter((c): c is HTMLElement => c instanceof HTMLElement);
    const from = items.indexOf(document.activeElement as HTMLElement);
    const steps: Record<string, number> = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: columns(),
      ArrowUp: -columns(),
    };
    const step = steps[event.key];
    if (!step || from < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const to = items[from + step];
    to?.focus();
    to?.click();
  });
}

const ICONS = {
  select: "M6 3l12 9-5.5 1L10 19z",
  brush: "M20 4c-5 2-9 6-11 10l2 2c4-2 8-6 9-12zM8 15c-2 0-3 1.500-3 3 0 1-1 2-2 2 3 1 7 0 7-3z",
  eraser: "M4 15l9-10 7 6-8 9H8zM9 10l7 6M8 20h12",
  rectangle: "M4 6h16v12H4z",
  polygon: "M5 9l8-5 7 7-4 9H7z",
  fill: "M10 3l8 8-7 7-7-7zM4 11h14M20 15c-1.500 2-2 3-2 4a2 2 0 0 0 4 0c0-1-.5-2-2-4z",
  pick: "M14 6l4 4M12 8l-8 8v4h4l8-8M13 5l6 6 2-2a2.800 2.800 0 0 0-4-4z",
  hand: "M8 12V6a1.500 1.500 0 0 1 3 0v5V4a1.500 1.500 0 0 1 3 0v7V6a1.500 1.500 0 0 1 3 0v8c0 4-2 7-6 7-3 0-4-1-6-5l-2-3c1-1.500 3-1 5 2z",
  undo: "M9 7L4 12l5 5M4 12h10a5 5 0 0 1 0 10",
  redo: "M15 7l5 5-5 5M20 12H10a5 5 0 0 0 0 10",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  outlines: "M4 4h7v7H4zM13 13h7v7h-7zM13 4h7v7h-7zM4 13h7v7H4z",
  flip: "M12 3v18M9 7L3 17h6zM15 7l6 10h-6z",
  forward: "M4 4h11v11H4zM19 9v11H8",
  backward: "M9 9h11v11H9zM15 4H4v11",
  remove: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  shuffle: "M3 7h4l10 10h4M3 17h4l3-3M14 10l3-3h4M18 4l3 3-3 3M18 14l3 3-3 3",
  close: "M6 6l12 12M18 6L6 18",
  help: "M9 9a3 3 0 1 1 4 3c-1 .5-1 1-1 2M12 18v.5",
} as const;
export type IconName = keyof typeof ICONS;

export function svg(name: IconName): SVGSVGElement {
  const ns = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(ns, "svg");
  const path = document.createElementNS(ns, "path");
  picture.setAttribute("viewBox", "0 0 24 24");
  picture.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  picture.append(path);
  return picture;
}
