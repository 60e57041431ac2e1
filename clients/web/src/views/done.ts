import { Destination, type ExportResult } from "tara-export/web";

import { button, h, icon } from "../dom.js";
import { formatBytes, formatFiles } from "../format.js";
import type { View } from "../shell.js";
import { notice } from "./parts.js";

/** What the buttons of a finished export do. */
export interface DoneActions {
  downloadDocument: (path: string) => void;
  downloadBundle: () => void;
  newReview: () => void;
  close: () => void;
}

/** The document as it is after the review, or the one before where there is no other. */
export function finalDocument({ export: { artifacts } }: ExportResult): string | undefined {
  const starting = (start: string) => artifacts.find(({ path }) => path.startsWith(start))?.path;
  return starting("documents/after_") ?? starting("documents/before_");
}

/** A bundle that is whole. */
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
    this.buttons.push(downloadButton("Whole bundle (ZIP)", actions.downloadBundle));
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
        facts(result),
        h("section", {}, h("h3", {}, "Download"), h("div", { class: "downloads" }, ...this.buttons), this.status),
      ],
      footer: [button("Close", "secondary", actions.close), button("Start a new review", "primary", actions.newReview)],
    };
  }

  /** Says how a download goes. */
  downloading(text: string): void {
    this.status.className = "download-status";
    this.status.textContent = text;
  }

  /** While one download runs, another must wait. */
  set isBusy(isBusy: boolean) {
    for (const one of this.buttons) one.setAttribute("aria-disabled", String(isBusy));
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
  // The heading above says "Download" to those who see it.
  element.append(icon("download"), h("span", {}, h("span", { class: "visually-hidden" }, "Download "), label));
  return element;
}

function fallbackNotice(): HTMLElement {
  return notice(
    "warning",
    h(
      "p",
      {},
      h("strong", {}, "S3 could not take the bundle. "),
      "Nothing is lost: all of it is on the server’s disk, whole and checked.",
    ),
    h(
      "p",
      {},
      "It goes to S3 by itself as soon as S3 takes it again; you don’t have to do anything. Its folder may get another name then.",
    ),
  );
}

const proofHint = "The manifest’s SHA-256: whoever keeps it can prove later that the bundle is unchanged.";

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

/** A value with a button that copies it, where the page may. */
function copyable(value: string, what: string): HTMLElement {
  const text = h("code", {}, value);
  if (!navigator.clipboard) return text;
  const copy = button("", "quiet", () => {
    const done = (label: string) => copy.setAttribute("aria-label", label);
    navigator.clipboard.writeText(value).then(
      () => {
        copy.replaceChildren(icon("check"));
        done(`Copied the ${what}`);
      },
      () => done(`The ${what} could not be copied`),
    );
  });
  copy.append(icon("copy"));
  copy.setAttribute("aria-label", `Copy the ${what}`);
  return h("span", { class: "copyable" }, text, copy);
}
