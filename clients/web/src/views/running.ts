import { button, h, icon } from "../dom.js";
import type { Texts } from "../messages/texts.js";
import type { ArtifactProgress, ExportProgress } from "../progress.js";
import type { View } from "../shell.js";
import { messageOfReason } from "./failed.js";
import { notice, pathLabel } from "./parts.js";

/** Which page sends the review. */
export type Sender = "this" | "other-tab" | "unknown";

const titles = {
  this: "running.title",
  "other-tab": "running.title.otherTab",
  unknown: "running.title.reconnecting",
} as const satisfies Record<Sender, string>;

/** A running export. Updates its elements in place, so that focus and scroll position are kept. */
export class RunningView {
  readonly view: View;
  private readonly stage = h("p", { class: "stage" });
  private readonly bar = h("progress");
  private readonly counts = h("p", { class: "counts" });
  private readonly connection = h("div", { class: "fallback" });
  private readonly fallback = h("div", { class: "fallback" });
  private readonly list = h("ul", { class: "files live" });
  private readonly hint = h("p", { class: "hint" });
  private readonly cancel: HTMLButtonElement;
  private readonly hide: HTMLButtonElement;
  private readonly rows = new Map<string, ArtifactRow>();
  private announcedQuarter = 0;
  private hasFallenBack = false;
  private wasAccepted: boolean | undefined;

  constructor(
    private readonly texts: Texts,
    private readonly sender: Sender,
    on: { hide: () => void; cancel: () => void },
    private readonly announce: (text: string) => void,
  ) {
    this.cancel = button(texts.text("action.cancel"), "secondary", on.cancel);
    this.hide = button(texts.text("action.hide"), "secondary", on.hide);
    this.view = {
      title: texts.text(titles[sender]),
      body: [this.stage, this.bar, this.counts, this.connection, this.fallback, this.list],
      footer: [this.hint, this.cancel, this.hide],
    };
  }

  update(progress: ExportProgress): void {
    this.stage.textContent = this.stageOf(progress);
    this.updateBar(progress);
    this.updateHint(progress);
    this.counts.textContent = this.countsOf(progress);
    this.updateConnection(progress);
    if (progress.fellBack && !this.hasFallenBack) this.fallBack(progress.fellBack);
    for (const artifact of progress.artifacts.values()) this.row(artifact).update(artifact);
    this.announceQuarters(progress);
  }

  private updateBar(progress: ExportProgress): void {
    const { share, hashing, uploading } = progress;
    const step = hashing ? "hashing" : uploading ? "uploading" : "storing";
    this.bar.setAttribute("aria-label", this.texts.text(`running.bar.${step}`));
    if (share === undefined) this.bar.removeAttribute("value");
    else this.bar.value = share;
  }

  /** The page can be closed after the server has accepted the export, and not earlier. */
  private updateHint({ isAccepted, hashing, uploading }: ExportProgress): void {
    // Once the request is sent, the server may have accepted it.
    const hadFocus = this.cancel.matches(":focus");
    this.cancel.hidden = this.sender !== "this" || isAccepted || (hashing === undefined && uploading === undefined);
    if (hadFocus && this.cancel.hidden) this.hide.focus();
    if (this.wasAccepted === isAccepted) return;
    this.wasAccepted = isAccepted;
    const keepOpen = this.sender === "other-tab" ? "running.keepOtherTabOpen" : "running.keepOpen";
    this.hint.textContent = this.texts.text(isAccepted ? "running.mayClose" : keepOpen);
    this.hint.hidden = !isAccepted && this.sender === "unknown";
  }

  private updateConnection({ isReconnecting }: ExportProgress): void {
    const isShown = this.connection.childElementCount > 0;
    if (isReconnecting === isShown) return;
    const text = this.texts.text(navigator.onLine ? "running.connectionLost" : "running.offline");
    this.connection.replaceChildren(...(isReconnecting ? [notice("warning", h("p", {}, text))] : []));
    if (isReconnecting) this.announce(text);
  }

  private fallBack({ reason, message }: { reason: string; message: string }): void {
    this.hasFallenBack = true;
    this.announcedQuarter = 0;
    const text = this.texts.text("running.fellBack");
    const why = messageOfReason(this.texts, reason);
    const detail = why ? h("p", { class: "detail" }, why) : h("p", { class: "detail", lang: "en" }, message);
    this.fallback.replaceChildren(notice("warning", h("p", {}, text), detail));
    this.announce(text);
  }

  private announceQuarters({ artifactsDone, artifactsTotal }: ExportProgress): void {
    const quarter = artifactsTotal > 0 ? Math.floor((artifactsDone / artifactsTotal) * 4) : 0;
    // The result announces the end.
    if (quarter <= this.announcedQuarter || quarter >= 4) return;
    this.announcedQuarter = quarter;
    this.announce(this.texts.text("running.counts", { done: artifactsDone, files: this.texts.files(artifactsTotal) }));
  }

  private countsOf(progress: ExportProgress): string {
    const { artifactsDone: done, artifactsTotal, bytesDone, bytesTotal, bytesInFlight } = progress;
    if (artifactsTotal === 0) return "";
    const files = this.texts.files(artifactsTotal);
    if (bytesTotal === 0) return this.texts.text("running.counts", { done, files });
    const [sent, size] = [this.texts.bytes(bytesDone + bytesInFlight), this.texts.bytes(bytesTotal)];
    return this.texts.text("running.countsWithSize", { done, files, sent, size });
  }

  private row(artifact: ArtifactProgress): ArtifactRow {
    let row = this.rows.get(artifact.path);
    if (!row) {
      row = new ArtifactRow(this.texts, artifact);
      this.rows.set(artifact.path, row);
      this.list.append(row.element);
    }
    return row;
  }

  private stageOf(progress: ExportProgress): string {
    const { hashing, uploading, isAccepted, isWithoutEvents, fellBack } = progress;
    const step = hashing ?? uploading;
    if (step) {
      const file = step.fileName || this.texts.text("running.unnamedFile");
      const percent = this.texts.percent(step.doneBytes, step.sizeBytes);
      return this.texts.text(hashing ? "running.hashing" : "running.uploading", { file, percent });
    }
    if (!isAccepted) return this.texts.text(this.sender === "this" ? "running.sending" : "running.looking");
    if (isWithoutEvents) return this.texts.text("running.withoutProgress");
    return this.texts.text(fellBack ? "running.storing.local" : "running.storing");
  }
}

/** One file of the list. */
class ArtifactRow {
  readonly element: HTMLLIElement;
  private readonly sign = h("span", { class: "sign" });
  private readonly state = h("span", { class: "state" });
  private shown: ArtifactProgress["status"] | undefined;

  constructor(
    private readonly texts: Texts,
    { path }: ArtifactProgress,
  ) {
    this.element = h("li", {}, this.sign, pathLabel(path), this.state);
  }

  update({ status, doneBytes, sizeBytes, reason }: ArtifactProgress): void {
    const isPartial = status === "sending" && doneBytes > 0 && doneBytes < sizeBytes;
    const { texts } = this;
    this.state.textContent = isPartial ? texts.percent(doneBytes, sizeBytes) : texts.text(`running.state.${status}`);
    this.element.title = reason;
    if (status === this.shown) return;
    this.shown = status;
    this.element.className = status;
    this.sign.replaceChildren(icon(signs[status]));
  }
}

const signs = { waiting: "waiting", sending: "busy", retrying: "warning", stored: "check" } as const;
