import { h, icon } from "../dom.js";

/** Creates a highlighted notice. */
export function notice(tone: "warning" | "error" | "info", ...content: (Node | string)[]): HTMLElement {
  const sign = icon(tone === "warning" ? "warning" : tone);
  return h("div", { class: `notice ${tone}` }, sign, h("div", {}, ...content));
}

/** Creates a path label that emphasizes the file name over the folder. */
export function pathLabel(path: string): HTMLElement {
  const end = path.lastIndexOf("/") + 1;
  const folder = h("span", { class: "folder" }, ...breakable(path.slice(0, end)));
  return h("span", { class: "path" }, folder, ...breakable(path.slice(end)));
}

/** A path or an identifier that can be broken after each separator, instead of within its words. */
export function breakable(text: string): (Node | string)[] {
  return text
    .split(/(?<=[/_-])/)
    .flatMap((part, index) => (index > 0 ? [document.createElement("wbr"), part] : [part]));
}
