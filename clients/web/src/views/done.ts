import { Destination, describeReplacement, type ExportResult, printable } from "tara-export/web";

import { button, h, icon } from "../dom.js";
import { formatBytes, formatFiles } from "../format.js";
import type { View } from "../shell.js";
import { notice } from "./parts.js";

/** Actions of the buttons. */
export interface DoneActions {
  downloadDocument: (path: string) => void;
  downloadBundle: () => void;
  newReview: () => void;
  close: () => void;
}

/** The path of the document after the review, or of the document before it if there is no other. */
export function finalDocument({ export: { artifacts } }: ExportResult): string | undefined {
  const find = (prefix: string) => artifacts.find(({ path }) => path.startsWith(prefix))?.path;
  return find("documents/after_") ?? find("documents/before_");
}

/** The result: a complete bundle. */
export class DoneView {
  readonly view: View;
  private readonly status = h("p", { class: "download-status", role: "status" });
  private readonly buttons: HTMLButtonElement[] = [];

  constructor(result: ExportResult, actions: DoneActions) {
    const isInS3 = result.storedIn === Destination.S3;
    const document = finalDocument(result);
    if (document) {
      this.buttons.push(downloadButton("Final document", () => actions.downloadDocument(document)));
    }
    this.buttons.push(downloadButton("Complete bundle (ZIP)", actions.downloadBundle));
    const mark = h(
      "span",
      { class: result.fellBack ? "seal warning" : "seal" },
      icon(result.fellBack ? "warning" : "check"),
    );
    this.view = {
      title: result.fellBack ? "Saved on the server for now" : isInS3 ? "Saved to S3" : "Saved on the server",
      mark,
      body: [
        ...(result.fellBack ? [fallbackNotice()] : []),
        ...replacementNotice(result),
        facts(result),
        h("section", {}, h("h3", {}, "Download"), h("div", { class: "downloads" }, ...this.buttons), this.status),
      ],
      footer: [button("Close", "secondary", actions.close), button("Start a new review", "primary", actions.newReview)],
    };
  }

  /** Shows the status of a download. */
  downloading(text: string): void {
    this.status.className = "download-status";
    this.status.textContent = text;
  }

  /** Disables the buttons during a download. */
  set isBusy(isBusy: boolean) {
    for (const element of this.buttons) element.setAttribute("aria-disabled", String(isBusy));
  }

  failed(text: string): void {
    this.status.className = "download-status failed";
    this.status.textContent = text;
  }
}

function downloadButton(label: string, onClick: () => void): HTMLButtonElement {
  const element: HTMLButtonElement = button("", "secondary", () => {
    if (element.getAttribute("aria-disabled") !== "true") onClick();
  });
  // Sighted users read "Download" in the heading above.
  element.append(icon("download"), h("span", {}, h("span", { class: "visually-hidden" }, "Download "), label));
  return element;
}

function fallbackNotice(): HTMLElement {
  return notice(
    "warning",
    h(
      "p",
      {},
      h("strong", {}, "The bundle could not be saved to S3. "),
      "Nothing is lost: the complete, verified bundle is on the server’s disk.",
    ),
    h(
      "p",
      {},
      "It will be uploaded to S3 automatically as soon as S3 is available again; you don’t have to do anything. Its folder name may change then.",
    ),
  );
}

/** The values of the review that the bundle has in another form. */
function replacementNotice({ export: { replacements } }: ExportResult): HTMLElement[] {
  if (replacements.length === 0) return [];
  const title = replacements.length === 1 ? "1 value was replaced" : `${replacements.length} values were replaced`;
  const items = replacements.map((replacement) => h("li", {}, printable(describeReplacement(replacement))));
  return [
    notice(
      "warning",
      h("p", {}, h("strong", {}, `${title}. `), "The bundle is complete otherwise, and its manifest lists them."),
      h("details", { class: "replacements" }, h("summary", {}, "Show the values"), h("ul", {}, ...items)),
    ),
  ];
}

const proofHint = "The SHA-256 of the manifest. Keep it to prove later that the bundle is unchanged.";

function facts(result: ExportResult): HTMLElement {
  const rows: [string, Node | string][] = [
    ["Location", copyable(result.location, "location")],
    ["Files", `${formatFiles(result.artifactCount)} and the manifest`],
    ["Size", formatBytes(result.sizeBytes)],
    ["Proof", h("div", {}, copyable(result.manifestSha256, "proof"), h("p", { class: "hint" }, proofHint))],
  ];
  const list = h("dl", { class: "facts" });
  for (const [term, value] of rows) list.append(h("div", {}, h("dt", {}, term), h("dd", {}, value)));
  return list;
}

/** A value with a copy button, if the page can access the clipboard. */
function copyable(value: string, label: string): HTMLElement {
  const text = h("code", {}, value);
  if (!navigator.clipboard) return text;
  const copy = button("", "quiet", () => {
    const setLabel = (text: string) => copy.setAttribute("aria-label", text);
    navigator.clipboard.writeText(value).then(
      () => {
        copy.replaceChildren(icon("check"));
        setLabel(`Copied the ${label}`);
      },
      () => setLabel(`The ${label} could not be copied`),
    );
  });
  copy.append(icon("copy"));
  copy.setAttribute("aria-label", `Copy the ${label}`);
  return h("span", { class: "copyable" }, text, copy);
}
