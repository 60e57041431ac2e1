import { h, icon } from "../dom.js";

/** A notice that stands out: something to know before going on. */
export function notice(tone: "warning" | "error" | "info", ...content: (Node | string)[]): HTMLElement {
  const sign = icon(tone === "warning" ? "warning" : tone);
  return h("div", { class: `notice ${tone}` }, sign, h("div", {}, ...content));
}

/** A path with its folder set back, so that the file's name is what the eye finds. */
export function pathLabel(path: string): HTMLElement {
  const end = path.lastIndexOf("/") + 1;
  return h("span", { class: "path" }, h("span", { class: "folder" }, path.slice(0, end)), path.slice(end));
}
