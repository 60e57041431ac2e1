type Attributes = Record<string, string | boolean | undefined>;
type Child = Node | string | undefined | false;

/** Creates an element. Attributes and children that are undefined or false are omitted. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  element.append(...children.filter((child) => child !== undefined && child !== false));
  return element;
}

/** Creates a button. */
export function button(
  label: string,
  kind: "primary" | "secondary" | "quiet",
  onClick: () => void,
  attributes: Attributes = {},
): HTMLButtonElement {
  const element = h("button", { type: "button", class: kind, ...attributes }, label);
  element.addEventListener("click", onClick);
  return element;
}

function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
}

/** SVG paths of 24 × 24 line icons, drawn in the text colour. */
const icons = {
  check: "M5 12.5l4.5 4.5L19 7.5",
  warning: "M12 4L2.8 20h18.4L12 4zM12 10v4.5M12 17.4v.1",
  error: "M12 3a9 9 0 100 18 9 9 0 000-18zM12 7.5v5.5M12 16.4v.1",
  info: "M12 3a9 9 0 100 18 9 9 0 000-18zM12 11v5.5M12 7.6v.1",
  waiting: "M12 6a6 6 0 100 12 6 6 0 000-12z",
  busy: "M12 4a8 8 0 108 8",
  download: "M12 4v11m0 0l-4.5-4.5M12 15l4.5-4.5M5 19.5h14",
  copy: "M9 9h10v10H9zM5 15V5h10",
} as const;

export type IconName = keyof typeof icons;

/** Creates an icon that is hidden from assistive technology, because adjacent text has the same meaning. */
export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  setAttributes(svg, { viewBox: "0 0 24 24", "aria-hidden": "true", class: `icon ${name}` });
  setAttributes(path, { d: icons[name] });
  svg.append(path);
  return svg;
}
