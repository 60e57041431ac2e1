import type { PreviewExportResponse } from "tara-export/web";

import type { DestinationChoice } from "../backend.js";
import { button, h } from "../dom.js";
import { formatBytes, formatFiles } from "../format.js";
import type { View } from "../shell.js";
import { notice } from "./parts.js";

/** The confirmation, which explains the next steps. */
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
      ? step(
          "Stored in S3",
          "The files are saved in a new folder in the S3 bucket. The folder is named after the time and the document.",
        )
      : step(
          "Stored on the server",
          "The files are saved in a new folder on the server’s disk. The folder is named after the time and the document.",
        ),
    step(
      "Sealed",
      "A manifest with the size and SHA-256 of every file is saved last. After that, any change can be detected.",
    ),
  ];
  return {
    title: isS3 ? "Save this review to S3?" : "Save this review on the server only?",
    body: [
      h("p", { class: "lead" }, "This is what will happen:"),
      h("ol", { class: "steps" }, ...steps),
      ...(isS3 ? [notice("info", h("p", {}, ifS3Fails))] : []),
      h("p", { class: "hint" }, "After it has started, the export continues even if you close this page."),
    ],
    footer: [
      button("Back", "secondary", on.back),
      button(isS3 ? "Save to S3" : "Save on the server", "primary", on.confirm),
    ],
  };
}

const ifS3Fails =
  "If S3 is not available, the whole bundle is saved on the server’s disk and uploaded to S3 automatically later. You will see a message.";

function step(title: string, text: string): HTMLElement {
  return h("li", {}, h("div", {}, h("strong", {}, title), h("span", {}, text)));
}
