import type { ExportEvent, ExportUpdate, PreviewExportResponse } from "tara-export/web";

/** How far one file of the bundle is. */
export interface ArtifactProgress {
  path: string;
  sizeBytes: number;
  doneBytes: number;
  status: "waiting" | "sending" | "retrying" | "stored";
  /** Why it is sent again, for a person. */
  reason: string;
}

/** What a large document's own way to the server looks like. */
export interface UploadingDocument {
  fileName: string;
  doneBytes: number;
  sizeBytes: number;
}

/** Everything that is known of a running export, built from its updates. */
export class ExportProgress {
  readonly artifacts = new Map<string, ArtifactProgress>();
  uploading: UploadingDocument | undefined;
  /** Whether the request is safe at the server. */
  isAccepted = false;
  /** Why S3 could not take the bundle, once that happened. */
  fellBack: { reason: string; message: string } | undefined;
  artifactsDone = 0;
  artifactsTotal = 0;
  bytesDone = 0;
  bytesTotal = 0;

  /** Begins with what the preview promised; without one, files show up as they begin. */
  constructor(preview?: PreviewExportResponse) {
    for (const { path, sizeBytes } of preview?.artifacts ?? []) this.artifact(path, Number(sizeBytes));
    if (!preview) return;
    // The manifest, which no preview lists.
    this.artifact("manifest.json", 0);
    this.artifactsTotal = this.artifacts.size;
    this.bytesTotal = Number(preview.sizeBytes);
  }

  apply(update: ExportUpdate): void {
    if (update.type === "upload") {
      this.uploading = update.doneBytes < update.sizeBytes ? update : undefined;
      return;
    }
    this.uploading = undefined;
    this.applyEvent(update.event);
  }

  private applyEvent({ event, progress }: ExportEvent): void {
    switch (event.case) {
      case "accepted":
        // A later run begins from the start, and repeats what is stored.
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
    // News may be late: what is stored stays stored.
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
