import { button, h, icon } from "../dom.js";
import type { Texts } from "../messages/texts.js";
import type { SentFile } from "../saved-export.js";
import type { View } from "../shell.js";

/** Sending stopped before the server had everything. `files` are the large documents that were being sent. */
export function interruptedView(
  texts: Texts,
  files: readonly SentFile[],
  on: { again: () => void; discard: () => void },
): View {
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const values = { file: texts.list(files.map(({ fileName }) => fileName)), size: texts.bytes(sizeBytes) };
  const next = files.length > 0 ? texts.text("interrupted.file", values) : texts.text("interrupted.noFile");
  return {
    title: texts.text("interrupted.title"),
    mark: h("span", { class: "seal warning" }, icon("warning")),
    body: [
      h("p", { class: "lead message" }, texts.text("interrupted.text")),
      h("p", {}, next),
      h("p", { class: "hint" }, texts.text("interrupted.watching")),
    ],
    footer: [
      button(texts.text("action.discard"), "secondary", on.discard),
      button(texts.text(files.length > 0 ? "action.chooseFile" : "action.continue"), "primary", on.again),
    ],
  };
}
