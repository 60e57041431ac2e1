import type { PreviewExportResponse } from "tara-export/web";

import type { DestinationChoice, FallbackChoice } from "../backend.js";
import { button, h } from "../dom.js";
import type { Texts } from "../messages/texts.js";
import type { View } from "../shell.js";
import { notice } from "./parts.js";

/** What will be exported. */
export interface Confirmation {
  preview: PreviewExportResponse;
  destination: DestinationChoice;
  fallback: FallbackChoice;
  notifyEmails: readonly string[];
}

/** The confirmation, which explains the next steps. */
export function confirmView(
  texts: Texts,
  { preview, destination, fallback, notifyEmails }: Confirmation,
  on: { confirm: () => void; back: () => void },
): View {
  const files = texts.files(preview.artifacts.length);
  const collected = texts.text("confirm.collect.text", { files, size: texts.bytes(preview.sizeBytes) });
  const steps = [
    step(texts.text("confirm.collect"), collected),
    step(texts.text(`confirm.store.${destination}`), texts.text(`confirm.store.${destination}.text`)),
    step(texts.text("confirm.seal"), texts.text("confirm.seal.text")),
  ];
  const ifS3Fails = texts.text(fallback === "none" ? "confirm.noFallback" : "confirm.fallback");
  return {
    title: texts.text(`confirm.title.${destination}`),
    body: [
      h("p", { class: "lead" }, texts.text("confirm.lead")),
      h("ol", { class: "steps" }, ...steps),
      ...(destination === "s3" ? [notice("info", h("p", {}, ifS3Fails))] : []),
      ...notifyEmails.map((email) => h("p", {}, texts.text("confirm.notify", { email }))),
      h("p", { class: "hint" }, texts.text("confirm.keepOpen")),
    ],
    footer: [
      button(texts.text("action.back"), "secondary", on.back),
      button(texts.text(`confirm.action.${destination}`), "primary", on.confirm),
    ],
  };
}

function step(title: string, text: string): HTMLElement {
  return h("li", {}, h("div", {}, h("strong", {}, title), h("span", {}, text)));
}
