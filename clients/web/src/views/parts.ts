import { h, icon } from "../dom.js";

/** Creates a highlighted notice. */
export function notice(tone: "warning" | "error" | "info", ...content: (Node | string)[]): HTMLElement {
  const sign = icon(tone === "warning" ? "warning" : tone);
  return h("div", { class: `notice ${tone}` }, sign, h("div", {}, ...content));
}

/** Creates a path label that emphasizes the file name over the folder. */
export function pathLabel(path: string): HTMLElement {
  const end = path.lastIndexOf("/") + 1;
  return h("span", { class: "path" }, h("span", { class: "folder" }, path.slice(0, end)), path.slice(end));
}
