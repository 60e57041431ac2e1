import type { PreviewExportResponse } from "tara-export/web";

import type { DestinationChoice } from "../backend.js";
import { button, h } from "../dom.js";
import { formatBytes, formatFiles } from "../format.js";
import type { View } from "../shell.js";
import { notice } from "./parts.js";

/** What will happen, before it does. */
export function confirmView(
  preview: PreviewExportResponse,
  destination: DestinationChoice,
  on: { confirm: () => void; back: () => void },
): View {
  const files = `${formatFiles(preview.artifacts.length)} (${formatBytes(preview.sizeBytes)})`;
  const isS3 = destination === "s3";
  const steps = [
    step("Collected", `${files}: the documents, all feedback, the logs and two reports.`),
    isS3
      ? step("Stored in S3", "They go to a new folder in the S3 bucket, named after the time and the document.")
      : step(
          "Stored on the server",
          "They go to a new folder on the server’s own disk, named after the time and the document.",
        ),
    step("Sealed", "A manifest with every file’s size and SHA-256 comes last. From then on a change would be noticed."),
  ];
  return {
    title: isS3 ? "Save this review to S3?" : "Save this review on the server only?",
    body: [
      h("p", { class: "lead" }, "This is what will happen:"),
      h("ol", { class: "steps" }, ...steps),
      ...(isS3 ? [notice("info", h("p", {}, ifS3Fails))] : []),
      h("p", { class: "hint" }, "An export that has begun is carried to its end, also when this page is closed."),
    ],
    footer: [
      button("Back", "secondary", on.back),
      button(isS3 ? "Save to S3" : "Save on the server", "primary", on.confirm),
    ],
  };
}

const ifS3Fails =
  "If S3 can’t take it, the whole bundle is kept on the server’s disk, you are told, and it goes to S3 by itself later.";

function step(title: string, text: string): HTMLElement {
  return h("li", {}, h("div", {}, h("strong", {}, title), h("span", {}, text)));
}
