import { button, h, icon } from "../dom.js";
import { formatBytes, formatFiles, formatPercent } from "../format.js";
import type { ArtifactProgress, ExportProgress } from "../progress.js";
import type { View } from "../shell.js";
import { notice, pathLabel } from "./parts.js";

/** A running export. Updates its elements in place, so that focus and scroll position are kept. */
export class RunningView {
  readonly view: View;
  private readonly stage = h("p", { class: "stage" });
  private readonly bar = h("progress");
  private readonly counts = h("p", { class: "counts" });
  private readonly fallback = h("div", { class: "fallback" });
  private readonly list = h("ul", { class: "files live" });
  private readonly rows = new Map<string, ArtifactRow>();
  private announcedQuarter = 0;
  private hasFallenBack = false;

  constructor(
    title: string,
    onHide: () => void,
    private readonly announce: (text: string) => void,
  ) {
    this.view = {
      title,
      body: [this.stage, this.bar, this.counts, this.fallback, this.list],
      footer: [
        h("p", { class: "hint" }, "You can close this dialog. The export continues."),
        button("Continue in background", "secondary", onHide),
      ],
    };
  }

  update(progress: ExportProgress): void {
    const { artifactsDone, artifactsTotal, bytesDone, bytesTotal } = progress;
    this.stage.textContent = stageOf(progress);
    this.updateBar(progress);
    const bytes = bytesTotal > 0 ? ` · ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}` : "";
    this.counts.textContent = artifactsTotal > 0 ? `${artifactsDone} of ${formatFiles(artifactsTotal)}${bytes}` : "";
    if (progress.fellBack && !this.hasFallenBack) this.fallBack(progress.fellBack.message);
    for (const artifact of progress.artifacts.values()) this.row(artifact).update(artifact);
    this.announceQuarters(progress);
  }

  private updateBar({ uploading, isAccepted, artifactsDone, artifactsTotal }: ExportProgress): void {
    this.bar.setAttribute("aria-label", uploading ? "Document upload" : "Files stored");
    if (uploading) {
      this.bar.max = Math.max(1, uploading.sizeBytes);
      this.bar.value = uploading.doneBytes;
    } else if (isAccepted && artifactsTotal > 0) {
      this.bar.max = artifactsTotal;
      this.bar.value = artifactsDone;
    } else {
      // The duration is unknown.
      this.bar.removeAttribute("value");
    }
  }

  private fallBack(message: string): void {
    this.hasFallenBack = true;
    this.announcedQuarter = 0;
    const text = "The bundle can’t be saved to S3 now. It is being saved on the server’s disk instead.";
    this.fallback.replaceChildren(notice("warning", h("p", {}, text), h("p", { class: "detail" }, message)));
    this.announce(text);
  }

  private announceQuarters({ artifactsDone, artifactsTotal }: ExportProgress): void {
    const quarter = artifactsTotal > 0 ? Math.floor((artifactsDone / artifactsTotal) * 4) : 0;
    // The result announces the end.
    if (quarter <= this.announcedQuarter || quarter >= 4) return;
    this.announcedQuarter = quarter;
    this.announce(`${artifactsDone} of ${formatFiles(artifactsTotal)} stored`);
  }

  private row(artifact: ArtifactProgress): ArtifactRow {
    let row = this.rows.get(artifact.path);
    if (!row) {
      row = new ArtifactRow(artifact);
      this.rows.set(artifact.path, row);
      this.list.append(row.element);
    }
    return row;
  }
}

function stageOf({ uploading, isAccepted, fellBack }: ExportProgress): string {
  if (uploading) {
    const share = formatPercent(uploading.doneBytes, uploading.sizeBytes);
    return `Sending ${uploading.fileName || "a document"} to the server: ${share}`;
  }
  if (!isAccepted) return "Sending the review to the server…";
  return fellBack ? "Storing the files on the server’s disk…" : "Storing the files…";
}

/** One file of the list. */
class ArtifactRow {
  readonly element: HTMLLIElement;
  private readonly sign = h("span", { class: "sign" });
  private readonly state = h("span", { class: "state" });
  private shown: ArtifactProgress["status"] | undefined;

  constructor({ path }: ArtifactProgress) {
    this.element = h("li", {}, this.sign, pathLabel(path), this.state);
  }

  update({ status, doneBytes, sizeBytes, reason }: ArtifactProgress): void {
    const isPartial = status === "sending" && doneBytes > 0 && doneBytes < sizeBytes;
    this.state.textContent = isPartial ? formatPercent(doneBytes, sizeBytes) : states[status];
    this.element.title = reason;
    if (status === this.shown) return;
    this.shown = status;
    this.element.className = status;
    this.sign.replaceChildren(icon(signs[status]));
  }
}

const states = { waiting: "Waiting", sending: "Sending", retrying: "Retrying", stored: "Stored" } as const;
const signs = { waiting: "waiting", sending: "busy", retrying: "warning", stored: "check" } as const;
