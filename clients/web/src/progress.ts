import type { ExportEvent, ExportUpdate, HashProgress, PreviewExportResponse } from "tara-export/web";

/** Progress of one file of the bundle. */
export interface ArtifactProgress {
  path: string;
  sizeBytes: number;
  doneBytes: number;
  status: "waiting" | "sending" | "retrying" | "stored";
  /** Human-readable reason for a retry. */
  reason: string;
}

/** Progress of reading or uploading a large document. */
export interface DocumentStep {
  fileName: string;
  doneBytes: number;
  sizeBytes: number;
}

/** A file counts as this many bytes more than it has: the time of its request does not depend on its size. */
const REQUEST_BYTES = 64 * 1024;

/** The state of a running export, built from its updates. */
export class ExportProgress {
  readonly artifacts = new Map<string, ArtifactProgress>();
  /** The document that is read for its digest. */
  hashing: DocumentStep | undefined;
  uploading: DocumentStep | undefined;
  /** Whether the server accepted the export. */
  isAccepted = false;
  /** Whether the connection is lost. */
  isReconnecting = false;
  /** Whether the export runs, and its events do not arrive. */
  isWithoutEvents = false;
  /** Why the bundle fell back to the server's disk, if it did. */
  fellBack: { reason: string; message: string } | undefined;
  artifactsDone = 0;
  artifactsTotal = 0;
  /** Bytes of complete files. */
  bytesDone = 0;
  bytesTotal = 0;

  /** Starts with the files of the preview. Without a preview, files are added when they start. */
  constructor(preview?: PreviewExportResponse) {
    for (const { path, sizeBytes } of preview?.artifacts ?? []) this.artifact(path, Number(sizeBytes));
    if (!preview) return;
    // The preview does not list the manifest.
    this.artifact("manifest.json", 0);
    this.artifactsTotal = this.artifacts.size;
    this.bytesTotal = Number(preview.sizeBytes);
  }

  /** Bytes of files that are being stored. */
  get bytesInFlight(): number {
    let bytes = 0;
    for (const { path, status, doneBytes } of this.artifacts.values()) {
      // The manifest is not part of the total.
      if ((status === "sending" || status === "retrying") && path !== "manifest.json") bytes += doneBytes;
    }
    return Math.min(bytes, Math.max(0, this.bytesTotal - this.bytesDone));
  }

  /** The share of the current step from 0 to 1; undefined if it is not known. */
  get share(): number | undefined {
    const step = this.hashing ?? this.uploading;
    if (step) return step.sizeBytes > 0 ? step.doneBytes / step.sizeBytes : 1;
    if (!this.isAccepted || this.isWithoutEvents || this.artifactsTotal === 0) return undefined;
    const done = this.bytesDone + this.bytesInFlight + this.artifactsDone * REQUEST_BYTES;
    return done / (this.bytesTotal + this.artifactsTotal * REQUEST_BYTES);
  }

  /** A large document is read for its digest. */
  applyHash(step: HashProgress): void {
    this.hashing = step.doneBytes < step.sizeBytes ? step : undefined;
    this.uploading = this.hashing ? undefined : { ...step, doneBytes: 0 };
  }

  apply(update: ExportUpdate): void {
    this.isReconnecting = false;
    this.hashing = undefined;
    if (update.type === "upload") {
      this.uploading = update.doneBytes < update.sizeBytes ? update : undefined;
      return;
    }
    this.isWithoutEvents = false;
    this.uploading = undefined;
    this.applyEvent(update.event);
  }

  private applyEvent({ event, progress }: ExportEvent): void {
    switch (event.case) {
      case "accepted":
        // A later run starts over and repeats the events of stored files.
        this.isAccepted = true;
        this.fellBack = undefined;
        this.startOver();
        break;
      case "fellBack":
        this.fellBack = event.value;
        this.startOver();
        break;
      case "artifactStarted":
      case "artifactProgress":
        this.change(event.value, "sending", "");
        break;
      case "artifactRetrying":
        this.change(event.value, "retrying", event.value.reason);
        break;
      case "artifactStored":
        this.change({ ...event.value, bytesDone: event.value.sizeBytes }, "stored", "");
        break;
    }
    if (progress && progress.artifactsTotal > 0) {
      this.artifactsDone = progress.artifactsDone;
      this.artifactsTotal = progress.artifactsTotal;
      this.bytesDone = Number(progress.bytesDone);
      this.bytesTotal = Number(progress.bytesTotal);
    }
  }

  private startOver(): void {
    for (const artifact of this.artifacts.values())
      Object.assign(artifact, { status: "waiting", doneBytes: 0, reason: "" });
    this.artifactsDone = 0;
    this.bytesDone = 0;
  }

  private change(
    { path, bytesDone, sizeBytes }: { path: string; bytesDone: bigint; sizeBytes: bigint },
    status: ArtifactProgress["status"],
    reason: string,
  ): void {
    const artifact = this.artifact(path, Number(sizeBytes));
    // Ignore late events: a stored file stays stored.
    if (artifact.status === "stored") return;
    Object.assign(artifact, { sizeBytes: Number(sizeBytes), doneBytes: Number(bytesDone), status, reason });
  }

  private artifact(path: string, sizeBytes: number): ArtifactProgress {
    const known = this.artifacts.get(path);
    if (known) return known;
    const artifact: ArtifactProgress = { path, sizeBytes, doneBytes: 0, status: "waiting", reason: "" };
    this.artifacts.set(path, artifact);
    return artifact;
  }
}
