import { type ExportResult, printable, type Replacement } from "tara-export/web";

import { button, h, icon } from "../dom.js";
import { isProvisional } from "../follow.js";
import { en, type Key } from "../messages/en.js";
import type { Texts } from "../messages/texts.js";
import type { View } from "../shell.js";
import { breakable, notice } from "./parts.js";

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

  /** `isInS3` is whether the bundle is in S3; `isSynced` whether it was provisional before. */
  constructor(
    private readonly texts: Texts,
    result: ExportResult,
    { isInS3, isSynced }: { isInS3: boolean; isSynced: boolean },
    actions: DoneActions,
  ) {
    const document = finalDocument(result);
    if (document) {
      const label = texts.text("done.download.document");
      this.buttons.push(this.downloadButton(label, () => actions.downloadDocument(document)));
    }
    this.buttons.push(this.downloadButton(texts.text("done.download.bundle"), actions.downloadBundle));
    const provisional = isProvisional(result);
    const mark = h("span", { class: provisional ? "seal warning" : "seal" }, icon(provisional ? "warning" : "check"));
    const downloads = h("div", { class: "downloads" }, ...this.buttons);
    this.view = {
      title: texts.text(provisional ? "done.title.provisional" : isInS3 ? "done.title.s3" : "done.title.local"),
      mark,
      body: [
        ...(provisional ? [fallbackNotice(texts)] : []),
        ...(isSynced ? [notice("info", h("p", {}, texts.text("done.synced")))] : []),
        ...replacementNotice(texts, result),
        h("section", {}, h("h3", {}, texts.text("done.download")), downloads, this.status),
        facts(texts, result, provisional),
      ],
      footer: [
        button(texts.text("action.newReview"), "secondary", actions.newReview),
        button(texts.text("action.close"), "primary", actions.close),
      ],
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

  failed(text: string, detail: string): void {
    this.status.className = "download-status failed";
    this.status.replaceChildren(text, ...(detail ? [" ", h("code", { lang: "en" }, detail)] : []));
  }

  private downloadButton(label: string, onClick: () => void): HTMLButtonElement {
    const element: HTMLButtonElement = button("", "secondary", () => {
      if (element.getAttribute("aria-disabled") !== "true") onClick();
    });
    // Sighted users read "Download" in the heading above.
    const prefix = h("span", { class: "visually-hidden" }, `${this.texts.text("done.download")} `);
    element.append(icon("download"), h("span", {}, prefix, label));
    return element;
  }
}

function fallbackNotice(texts: Texts): HTMLElement {
  const title = h("strong", {}, `${texts.text("done.fellBack")} `);
  return notice(
    "warning",
    h("p", {}, title, texts.text("done.fellBack.safe")),
    h("p", {}, texts.text("done.fellBack.next")),
  );
}

/** The values of the review that the bundle has in another form. */
function replacementNotice(texts: Texts, { export: { replacements } }: ExportResult): HTMLElement[] {
  const count = replacements.length;
  if (count === 0) return [];
  const items = replacements.map((replacement) => h("li", {}, describeReplacement(texts, replacement)));
  const title = h("strong", {}, `${texts.text("done.replacements", { count })} `);
  const summary = h("summary", {}, texts.text("done.replacements.show"));
  return [
    notice(
      "warning",
      h("p", {}, title, texts.text("done.replacements.text")),
      h("details", { class: "replacements" }, summary, h("ul", {}, ...items)),
    ),
  ];
}

function describeReplacement(texts: Texts, replacement: Replacement): string {
  const [path, reason] = [printable(replacement.path), printable(replacement.reason)];
  const key = `replaced.${reason}`;
  return isReplacementKey(key) ? texts.text(key, { path }) : `${path}: ${reason}`;
}

function isReplacementKey(key: string): key is Extract<Key, `replaced.${string}`> {
  return Object.hasOwn(en, key);
}

function facts(texts: Texts, result: ExportResult, provisional: boolean): HTMLElement {
  const badge = () => provisional && h("span", { class: "badge provisional" }, texts.text("done.provisional"));
  const hint = h("p", { class: "hint" }, texts.text("done.proof.hint"));
  const time = result.export.committedTime;
  const rows: [string, ...(Node | string | false)[]][] = [
    [texts.text("done.location"), copyable(texts, result.location, "done.copy.location"), badge()],
    [texts.text("done.files"), texts.text("done.files.text", { files: texts.files(result.artifactCount) })],
    [texts.text("done.size"), texts.bytes(result.sizeBytes)],
    ...(time ? [[texts.text("done.time"), texts.time(new Date(Number(time.seconds) * 1000))] as [string, string]] : []),
    [texts.text("done.proof"), copyable(texts, result.manifestSha256, "done.copy.proof"), badge(), hint],
  ];
  const list = h("dl", { class: "facts" });
  for (const [term, ...values] of rows) list.append(h("div", {}, h("dt", {}, term), h("dd", {}, ...values)));
  return list;
}

/** A value with a copy button, if the page can access the clipboard. */
function copyable(texts: Texts, value: string, label: "done.copy.location" | "done.copy.proof"): HTMLElement {
  const text = h("code", {}, ...breakable(value));
  if (!navigator.clipboard) return h("span", { class: "copyable" }, text);
  const status = h("span", { class: "visually-hidden", role: "status" });
  const copy = button("", "quiet", () => {
    navigator.clipboard.writeText(value).then(
      () => {
        copy.replaceChildren(icon("check"));
        status.textContent = texts.text("done.copied");
      },
      () => {
        status.textContent = texts.text("done.notCopied");
      },
    );
  });
  copy.append(icon("copy"));
  copy.setAttribute("aria-label", texts.text(label));
  return h("span", { class: "copyable" }, text, copy, status);
}
